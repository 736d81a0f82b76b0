package release

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	helm "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// Release is a release that a target asks for.
type Release struct {
	Name, Namespace string
	Options         Options
	// Load gives the chart anew each time: Helm changes what it is given.
	Load func() (*chart.Chart, error)
	// Values are those of the target; the chart's own lie below them.
	Values map[string]any
	// Secrets are texts in the values that must not show.
	Secrets []string
	// Lookup lets templates read the cluster.
	Lookup bool
	// SkipSchema leaves the check of the values by the chart's schema out.
	SkipSchema bool
}

// String gives namespace/name.
func (r *Release) String() string { return r.Namespace + "/" + r.Name }

// storage is the namespace of the records.
func (r *Release) storage() string {
	if r.Options.StorageNamespace != "" {
		return r.Options.StorageNamespace
	}
	return r.Namespace
}

// values gives a copy of the values.
func (r *Release) values() (map[string]any, error) {
	raw, err := json.Marshal(r.Values)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	return out, json.Unmarshal(raw, &out)
}

// Document is one object of a rendered chart.
type Document struct {
	Template string // the file of the chart that it comes from
	Text     string
}

// Rendering is what Helm makes of a chart.
type Rendering struct {
	Revision  int
	Documents []Document
	Hooks     []*helm.Hook
	CRDs      []chart.CRD
	Meta      *chart.Metadata
}

// moment is what templates see of the release.
type moment struct {
	revision int
	upgrade  bool
}

// Render renders as an action would, hooks apart from the rest. Nothing of it
// is written anywhere.
func (c *Client) Render(ctx context.Context, r *Release, caps *common.Capabilities, at moment) (*Rendering, error) {
	ch, err := r.Load()
	if err != nil {
		return nil, err
	}
	vals, err := r.values()
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(ch, vals); err != nil {
		return nil, fmt.Errorf("dependencies: %w", err)
	}
	out := &Rendering{Revision: at.revision, CRDs: ch.CRDObjects(), Meta: ch.Metadata}
	o := common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: at.revision, IsInstall: !at.upgrade, IsUpgrade: at.upgrade}
	top, err := util.ToRenderValuesWithSchemaValidation(ch, vals, o, caps, r.SkipSchema)
	if err != nil {
		return nil, err
	}
	if v := ch.Metadata.KubeVersion; v != "" && !chartutil.IsCompatibleRange(v, caps.KubeVersion.String()) {
		return nil, fmt.Errorf("the chart wants a Kubernetes of %s, the server is %s", v, caps.KubeVersion.Version)
	}
	e := engine.Engine{CustomTemplateFuncs: c.functions(ctx, r)}
	files, err := e.RenderWithContext(ctx, ch, top)
	if err != nil {
		return nil, err
	}
	for name := range files {
		if path.Base(name) == "NOTES.txt" || strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, err
	}
	out.Hooks = hooks
	for _, m := range manifests {
		out.Documents = append(out.Documents, Document{Template: m.Name, Text: m.Content})
	}
	return out, nil
}

// documents takes a stored manifest apart again.
func documents(manifest string) []Document {
	var out []Document
	split := releaseutil.SplitManifests(manifest)
	for i := range len(split) {
		text := split[fmt.Sprintf("manifest-%d", i)]
		d := Document{Text: text}
		if first, rest, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(first, "# Source: ") {
			d.Template, d.Text = strings.TrimSpace(strings.TrimPrefix(first, "# Source: ")), rest
		}
		out = append(out, d)
	}
	return out
}
