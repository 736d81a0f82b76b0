package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// CRD is a definition in the chart's directory crds, and what would become of
// it.
type CRD struct {
	manifest.Object
	// Action is create, update or "" where nothing is to be done.
	Action string
}

// definitions tells what the release's policy does to the chart's definitions.
func (c *Client) definitions(ctx context.Context, r *Release, files []render.Text) ([]CRD, error) {
	if r.crds() == render.CRDsSkip {
		return nil, nil
	}
	var out []CRD
	for _, f := range files {
		objects, found := manifest.Lenient(f.Name, f.Data)
		for _, d := range objects {
			for _, o := range d.Objects(&found) {
				x := CRD{Object: o}
				var err error
				if x.Action, err = c.due(ctx, r, &o); err != nil {
					return nil, fmt.Errorf("%s: %w", o.Ref(), err)
				}
				out = append(out, x)
			}
		}
		if err := found.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// brings gives the versions and kinds that definitions stand for, as templates
// ask for them: also of those that are only about to come.
func brings(list []CRD) []string {
	var out []string
	for _, d := range list {
		group, _, _ := unstructured.NestedString(d.Unstructured.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(d.Unstructured.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(d.Unstructured.Object, "spec", "versions")
		for _, v := range versions {
			if m, ok := v.(map[string]any); ok && m["served"] == true {
				gv := fmt.Sprintf("%s/%v", group, m["name"])
				out = append(out, gv, gv+"/"+kind)
			}
		}
	}
	return out
}

// due tells what has to be done about a definition.
func (c *Client) due(ctx context.Context, r *Release, o *manifest.Object) (string, error) {
	m, err := c.cluster.Mapping(ctx, o.GroupVersionKind())
	if err != nil {
		return "", err
	}
	live, err := c.cluster.Get(ctx, m, "", o.GetName())
	switch {
	case errors.Is(err, kube.ErrNotFound):
		return "create", nil
	case err != nil || r.crds() == render.CRDsCreate:
		return "", err
	}
	after, err := c.cluster.Apply(ctx, m, o.Unstructured, kube.ApplyOptions{Manager: Manager, Force: true, DryRun: true})
	if err != nil {
		return "", err
	}
	if after.GetGeneration() == live.GetGeneration() && same(after, live) {
		return "", nil
	}
	return "update", nil
}

// same compares what a definition says: its spec, labels and annotations.
func same(a, b *unstructured.Unstructured) bool {
	return equal(a.Object["spec"], b.Object["spec"]) && equal(a.GetLabels(), b.GetLabels()) && equal(a.GetAnnotations(), b.GetAnnotations())
}

// established is how long a definition may take to be served.
const established = time.Minute

// applyCRDs brings the chart's definitions, and waits until they are served.
func (c *Client) applyCRDs(ctx context.Context, r *Release, list []CRD, logf func(string, ...any)) (wrote bool, err error) {
	var made []CRD
	for _, d := range list {
		if d.Action == "" {
			continue
		}
		m, err := c.cluster.Mapping(ctx, d.GroupVersionKind())
		if err != nil {
			return wrote, err
		}
		wrote = true
		if _, err := c.cluster.Apply(ctx, m, d.Unstructured, kube.ApplyOptions{Manager: Manager, Force: d.Action == "update"}); err != nil {
			return wrote, fmt.Errorf("%s: %w", d.Ref(), err)
		}
		logf("helm: %s: %sd", d.Ref(), d.Action)
		made = append(made, d)
	}
	for _, d := range made {
		if err := c.serve(ctx, &d); err != nil {
			return wrote, err
		}
	}
	if wrote {
		c.cluster.Forget()
	}
	return wrote, nil
}

// serve waits until a definition is established.
func (c *Client) serve(ctx context.Context, d *CRD) error {
	m, err := c.cluster.Mapping(ctx, d.GroupVersionKind())
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, established)
	defer cancel()
	for {
		live, err := c.cluster.Get(wait, m, "", d.GetName())
		if err == nil && condition(live, "Established") == "True" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.Done():
			return fmt.Errorf("%s is not served after %s", d.Ref(), established)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func condition(u *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, x := range list {
		if m, ok := x.(map[string]any); ok && m["type"] == kind {
			s, _ := m["status"].(string)
			return s
		}
	}
	return ""
}
