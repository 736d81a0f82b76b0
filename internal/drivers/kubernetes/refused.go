package kubernetes

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

func namespaceRef(name string) manifest.Ref { return manifest.Ref{Kind: "Namespace", Name: name} }

// fresh tells that the server would take the object if it were made anew: then
// it is a field that can't be changed that is in the way. The object is tried
// under a name that nobody has.
func (s *set) fresh(ctx context.Context, o *object) bool {
	other := &unstructured.Unstructured{Object: o.send.DeepCopy().Object}
	other.SetName(otherName(o.ref.Name))
	after, err := s.cluster.Apply(ctx, o.mapping, other, kube.ApplyOptions{Manager: s.manager(), DryRun: true})
	if err != nil {
		return false
	}
	o.trial.after = after
	return true
}

// otherName makes a name that is valid wherever the name is.
func otherName(name string) string {
	const mark = "trueup-try-"
	if len(name)+len(mark) <= 52 { // the shortest limit, that of a CronJob
		return mark + name
	}
	return mark + strings.TrimLeft(name[len(name)-(52-len(mark)):], "-.")
}

// reason is the server's own message, without what we wrapped around it, and
// without the object's secrets.
func (o *object) reason(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && !isSecret(o.send) {
		return o.scrub(status.Status().Message)
	}
	return o.scrub(err.Error())
}
