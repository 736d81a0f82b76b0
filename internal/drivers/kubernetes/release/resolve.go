package release

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Wanted is what a release should be.
type Wanted struct {
	// Current tells that the deployed revision is it already: the same chart,
	// values and rendering. Its own manifest is then what is desired, random
	// values and revision numbers included.
	Current bool
	// Differs says in what the deployed revision is another one.
	Differs []string
	// Revision is the deployed one, or the next.
	Revision int
	Meta     *chart.Metadata
	Objects  []manifest.Object
	Hooks    []Hook
}

// Hook is a hook of the chart. It comes and goes, and belongs to nobody.
type Hook struct {
	manifest.Object
	Events []string
}

// Resolve finds out what the release should be, beside what is recorded.
func (c *Client) Resolve(ctx context.Context, r *Release, rec *Records) (*Wanted, error) {
	caps, err := c.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	w, err := c.resolve(ctx, r, rec, caps)
	return w, r.clean(err)
}

func (c *Client) resolve(ctx context.Context, r *Release, rec *Records, caps *common.Capabilities) (*Wanted, error) {
	if rec.Last == nil || rec.Last.Info.Status == rcommon.StatusUninstalled {
		// Helm counts revisions on over one that is uninstalled, but templates of
		// an install see the first.
		w, err := c.wanted(ctx, r, caps, moment{revision: 1})
		if err == nil {
			w.Revision, w.Differs = next(rec), []string{"not installed"}
		}
		return w, err
	}
	var differs []string
	if s := rec.Last.Info.Status; s != rcommon.StatusDeployed {
		differs = []string{fmt.Sprintf("revision %d is %s", rec.Last.Version, s)}
	} else {
		var err error
		for _, at := range moments(rec.Last) {
			var w *Wanted
			if w, err = c.wanted(ctx, r, caps, at); err != nil {
				return nil, err
			}
			if differs, err = c.differs(rec.Last, w, r); err != nil {
				return nil, err
			}
			if len(differs) == 0 {
				return current(rec.Last, w, r)
			}
		}
	}
	w, err := c.wanted(ctx, r, caps, moment{revision: next(rec), upgrade: true})
	if err == nil {
		w.Revision, w.Differs = next(rec), differs
	}
	return w, err
}

// moments are what a revision's templates may have seen.
func moments(l *helm.Release) []moment {
	out := []moment{{revision: l.Version, upgrade: l.Version > 1}}
	switch back := l.Info.RollbackRevision; {
	case back > 0:
		out = []moment{{revision: back, upgrade: back > 1}}
	case l.Version > 1:
		out = append(out, moment{revision: 1}) // installed anew over history
	}
	return out
}

// wanted renders twice, so that what is made up anew each time is known.
func (c *Client) wanted(ctx context.Context, r *Release, caps *common.Capabilities, at moment) (*Wanted, error) {
	one, err := c.Render(ctx, r, caps, at)
	if err != nil {
		return nil, err
	}
	two, err := c.Render(ctx, r, caps, at)
	if err != nil {
		return nil, err
	}
	w := &Wanted{Revision: at.revision, Meta: one.Meta}
	if w.Objects, err = objects(one.Documents, r); err != nil {
		return nil, err
	}
	if w.Hooks, err = hooks(one.Hooks, r); err != nil {
		return nil, err
	}
	again, err := objects(two.Documents, r)
	if err != nil {
		return nil, err
	}
	hooksAgain, err := hooks(two.Hooks, r)
	if err != nil {
		return nil, err
	}
	for i := range w.Hooks {
		if i < len(hooksAgain) {
			w.Hooks[i].Unknown = differences(w.Hooks[i].Unstructured.Object, hooksAgain[i].Unstructured.Object)
		}
	}
	return w, unsteady(w.Objects, again)
}

// unsteady notes in which fields two renderings differ. Objects whose names
// are made up can't be told apart from others.
func unsteady(list, again []manifest.Object) error {
	other := byRef(again)
	for i := range list {
		o := &list[i]
		x, ok := other[o.Ref()]
		if !ok {
			return fmt.Errorf("%s: the chart makes up a new name for it with every rendering, so that it can't be followed: give it a fixed one by the chart's values", o.Ref())
		}
		o.Unknown = append(o.Unknown, differences(o.Unstructured.Object, x.Unstructured.Object)...)
	}
	return nil
}

// current takes what is desired from the record.
func current(l *helm.Release, w *Wanted, r *Release) (*Wanted, error) {
	list, err := objects(documents(l.Manifest), r)
	if err != nil {
		return nil, err
	}
	from := byRef(w.Objects)
	for i := range list {
		if o, ok := from[list[i].Ref()]; ok {
			list[i].Source = o.Source
		}
	}
	w.Current, w.Objects, w.Revision = true, list, l.Version
	return w, nil
}

// differs says in what a revision is not what is wanted.
func (c *Client) differs(l *helm.Release, w *Wanted, r *Release) ([]string, error) {
	var out []string
	if l.Chart == nil || l.Chart.Metadata == nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", l.Version, r, errBroken)
	}
	if was, now := named(l.Chart.Metadata), named(w.Meta); was != now {
		out = append(out, "chart")
	}
	same, err := sameValues(l.Config, r.Values)
	if err != nil {
		return nil, err
	}
	if !same {
		out = append(out, "values")
	}
	stored, err := objects(documents(l.Manifest), r)
	if err != nil {
		return nil, fmt.Errorf("manifest of revision %d: %w", l.Version, err)
	}
	if !alike(stored, w.Objects) {
		out = append(out, "manifest")
	}
	kept, err := hooks(l.Hooks, r)
	if err != nil {
		return nil, fmt.Errorf("hooks of revision %d: %w", l.Version, err)
	}
	if !alikeHooks(kept, w.Hooks) {
		out = append(out, "hooks")
	}
	return out, nil
}

func named(m *chart.Metadata) string { return m.Name + " " + m.Version + " " + m.AppVersion }

func sameValues(a, b map[string]any) (bool, error) {
	if len(a) == 0 && len(b) == 0 {
		return true, nil
	}
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return string(x) == string(y), err
}

// alike compares objects, but for what is made up anew with every rendering.
func alike(stored, wanted []manifest.Object) bool {
	other := byRef(stored)
	if len(other) != len(byRef(wanted)) {
		return false
	}
	for i := range wanted {
		o := &wanted[i]
		was, ok := other[o.Ref()]
		if !ok {
			return false
		}
		if !steadyAlike(was, o) {
			return false
		}
	}
	return true
}

// alikeHooks compares hooks in their order: several may have one name.
func alikeHooks(stored, wanted []Hook) bool {
	if len(stored) != len(wanted) {
		return false
	}
	for i := range wanted {
		if !steadyAlike(&stored[i].Object, &wanted[i].Object) {
			return false
		}
	}
	return true
}

func steadyAlike(was, o *manifest.Object) bool {
	for _, p := range differences(was.Unstructured.Object, o.Unstructured.Object) {
		if !slices.ContainsFunc(o.Unknown, func(u string) bool { return within(p, u) }) {
			return false
		}
	}
	return true
}

func byRef(list []manifest.Object) map[manifest.Ref]*manifest.Object {
	out := make(map[manifest.Ref]*manifest.Object, len(list))
	for i := range list {
		out[list[i].Ref()] = &list[i]
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
