package release

import (
	"fmt"
	"strings"

	helm "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// document is one object of a rendered chart.
type document struct {
	template string // the file of the chart that it comes from
	text     string
}

// sorted takes hooks and objects of a rendering apart, as Helm does.
func sorted(files map[string]string) ([]*helm.Hook, []document, error) {
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, nil, err
	}
	var out []document
	for _, m := range manifests {
		out = append(out, document{template: m.Name, text: m.Content})
	}
	return hooks, out, nil
}

// documents takes a stored manifest apart again.
func documents(manifest string) []document {
	var out []document
	split := releaseutil.SplitManifests(manifest)
	for i := range len(split) {
		text := split[fmt.Sprintf("manifest-%d", i)]
		d := document{text: text}
		if first, rest, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(first, "# Source: ") {
			d.template, d.text = strings.TrimSpace(strings.TrimPrefix(first, "# Source: ")), rest
		}
		out = append(out, d)
	}
	return out
}
