package release

import (
	"fmt"

	ri "helm.sh/helm/v4/pkg/release"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// v1 takes a release out of Helm's interface.
func v1(x ri.Releaser) (*helm.Release, error) {
	switch r := x.(type) {
	case *helm.Release:
		return r, nil
	case helm.Release:
		return &r, nil
	}
	return nil, fmt.Errorf("helm keeps a %T", x)
}

func equal(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }
