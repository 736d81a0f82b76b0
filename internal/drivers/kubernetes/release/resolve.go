package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
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
	// Objects have what is made up anew with every rendering under Unsteady.
	Objects  []manifest.Object
	Unsteady map[manifest.Ref][]string
	Hooks    []Hook
	CRDs     []CRD
	*render.Releasable

	rendering render.Rendering
}

// Has tells that an object is one of the chart's.
func (w *Wanted) Has(ref manifest.Ref) bool {
	return slices.ContainsFunc(w.Objects, func(o manifest.Object) bool { return o.Ref() == ref })
}

// Hook is a hook of the chart. It comes and goes, and belongs to nobody.
type Hook struct {
	manifest.Object
	Events []string

	Unsteady []string
}

// Resolve finds out what the release should be on a server with the
// capabilities given, beside what is recorded.
func (c *Client) Resolve(ctx context.Context, r *Release, rec *Records, caps render.Capabilities) (*Wanted, error) {
	w, err := c.resolve(ctx, r, rec, caps)
	return w, r.clean(err)
}

func (c *Client) resolve(ctx context.Context, r *Release, rec *Records, caps render.Capabilities) (*Wanted, error) {
	at, differs := coming(rec)
	seen := []render.Moment{at}
	if differs == "" {
		seen = moments(rec.Last)
	}
	list, crds, err := c.wanted(ctx, r, &caps, seen)
	if err != nil {
		return nil, err
	}
	why := []string{differs}
	for _, w := range list {
		w.CRDs = crds
		if differs != "" {
			break
		}
		if why, err = w.differs(rec.Last, r); err != nil {
			return nil, err
		}
		if len(why) == 0 {
			return w.current(rec.Last, r)
		}
	}
	if differs == "" {
		if list, _, err = c.wanted(ctx, r, &caps, []render.Moment{at}); err != nil {
			return nil, err
		}
	}
	w := list[0]
	w.Revision, w.Differs, w.CRDs = next(rec), why, crds
	return w, nil
}

// coming gives the moment of the next revision, and why there has to be one;
// "" where that has to be found out.
func coming(rec *Records) (render.Moment, string) {
	switch {
	case rec.Last == nil:
		return render.Moment{Revision: 1}, "not installed"
	case rec.Last.Info.Status == rcommon.StatusUninstalled:
		// Helm counts revisions on over one that is uninstalled, but templates of
		// an install see the first.
		return render.Moment{Revision: 1}, "uninstalled"
	case rec.Last.Info.Status != rcommon.StatusDeployed:
		return render.Moment{Revision: next(rec), Upgrade: true}, fmt.Sprintf("revision %d is %s", rec.Last.Version, rec.Last.Info.Status)
	}
	return render.Moment{Revision: next(rec), Upgrade: true}, ""
}

// moments are what a revision's templates may have seen.
func moments(l *helm.Release) []render.Moment {
	if back := l.Info.RollbackRevision; back > 0 {
		return []render.Moment{{Revision: back, Upgrade: back > 1}}
	}
	out := []render.Moment{{Revision: l.Version, Upgrade: l.Version > 1}}
	if l.Version > 1 {
		out = append(out, render.Moment{Revision: 1}) // installed anew over history
	}
	return out
}

// wanted renders, with the kinds that the chart's own definitions will bring.
func (c *Client) wanted(ctx context.Context, r *Release, caps *render.Capabilities, at []render.Moment) ([]*Wanted, []CRD, error) {
	res, err := r.Render(ctx, *caps, at...)
	if err != nil {
		return nil, nil, err
	}
	crds, err := c.definitions(ctx, r, res.Release.CRDs)
	if err != nil {
		return nil, nil, err
	}
	more := slices.DeleteFunc(brings(crds), func(v string) bool { return slices.Contains(caps.APIVersions, v) })
	if len(more) > 0 {
		caps.APIVersions = slices.Concat(caps.APIVersions, more)
		if res, err = r.Render(ctx, *caps, at...); err != nil {
			return nil, nil, err
		}
	}
	r.hidden = &res.Release.Hidden
	var out []*Wanted
	for i := range res.Release.Renderings {
		w, err := read(res, &res.Release.Renderings[i], r)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, w)
	}
	if len(out) == 0 {
		return nil, nil, errors.New("the chart was not rendered")
	}
	return out, crds, nil
}

// read takes a rendering apart.
func read(res *render.Result, from *render.Rendering, r *Release) (*Wanted, error) {
	w := &Wanted{Revision: from.Moment.Revision, Releasable: res.Release, rendering: *from, Unsteady: map[manifest.Ref][]string{}}
	var c chart.Chart
	if err := json.Unmarshal(res.Release.Chart, &c); err != nil || c.Metadata == nil {
		return nil, fmt.Errorf("the chart can't be read back: %w", err)
	}
	w.Meta = c.Metadata
	places := byRef(res.Objects)
	var err error
	if w.Objects, w.Hooks, err = parts(from.Files, r); err != nil {
		return nil, err
	}
	again, hooks, err := parts(from.Again, r)
	if err != nil {
		return nil, err
	}
	for i := range w.Hooks {
		place(&w.Hooks[i].Object, places)
		if i < len(hooks) {
			w.Hooks[i].Unsteady = differences(w.Hooks[i].Unstructured.Object, hooks[i].Unstructured.Object)
		}
	}
	other := byRef(again)
	for i := range w.Objects {
		o := &w.Objects[i]
		place(o, places)
		res.Release.Hidden.Mark(o)
		x, ok := other[o.Ref()]
		if !ok {
			return nil, fmt.Errorf("%s: the chart makes up a new name for it with every rendering, so that it can't be followed: give it a fixed one by the chart's values", o.Ref())
		}
		if d := differences(o.Unstructured.Object, x.Unstructured.Object); len(d) > 0 {
			w.Unsteady[o.Ref()] = d
		}
	}
	return w, nil
}

func parts(files map[string]string, r *Release) ([]manifest.Object, []Hook, error) {
	hooked, docs, err := sorted(files)
	if err != nil {
		return nil, nil, err
	}
	list, err := objects(docs, r)
	if err != nil {
		return nil, nil, err
	}
	h, err := hooks(hooked)
	return list, h, err
}

// place says where in Git an object comes from.
func place(o *manifest.Object, places map[manifest.Ref]*manifest.Object) {
	if at := places[o.Ref()]; at != nil {
		o.Source = at.Source
	}
}

// current takes what is desired from the record.
func (w *Wanted) current(l *helm.Release, r *Release) (*Wanted, error) {
	list, err := objects(documents(l.Manifest), r)
	if err != nil {
		return nil, err
	}
	places := byRef(w.Objects)
	for i := range list {
		place(&list[i], places)
		w.Hidden.Mark(&list[i])
	}
	w.Current, w.Objects, w.Revision = true, list, l.Version
	return w, nil
}

// differs says in what a revision is not what is wanted.
func (w *Wanted) differs(l *helm.Release, r *Release) ([]string, error) {
	var out []string
	if l.Chart == nil || l.Chart.Metadata == nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", l.Version, r, errBroken)
	}
	if named(l.Chart.Metadata) != named(w.Meta) {
		out = append(out, "chart")
	}
	same, err := sameValues(l.Config, w.Values)
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
	if !w.alike(stored) {
		out = append(out, "manifest")
	}
	kept, err := hooks(l.Hooks)
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
func (w *Wanted) alike(stored []manifest.Object) bool {
	other := byRef(stored)
	if len(other) != len(w.Objects) {
		return false
	}
	for i := range w.Objects {
		o := &w.Objects[i]
		was, ok := other[o.Ref()]
		if !ok || !steadyAlike(was, o, w.Unsteady[o.Ref()]) {
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
		if !steadyAlike(&stored[i].Object, &wanted[i].Object, wanted[i].Unsteady) {
			return false
		}
	}
	return true
}

func steadyAlike(was, o *manifest.Object, unsteady []string) bool {
	for _, p := range differences(was.Unstructured.Object, o.Unstructured.Object) {
		if !slices.ContainsFunc(unsteady, func(u string) bool { return within(p, u) }) {
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
