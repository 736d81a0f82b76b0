package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	helm "helm.sh/helm/v4/pkg/release/v1"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/plan"
)

// item gives the release as an object of a set.
func (x *released) item() item {
	return item{Key: x.key(), Kind: releaseKind, Class: "release", Hash: x.hash, Value: side{object: x.object}}
}

// Desired gives the objects of the release, and the release itself.
func (h *releases) Desired(ctx context.Context, in driver.Input) ([]item, error) {
	out, err := h.set.Desired(ctx, in)
	if err != nil || h.asked == nil {
		return out, err
	}
	it := h.asked.item()
	it.Source = h.asked.desired.Source
	return append(out, it), nil
}

// Observed reads the objects, and adds what Helm has written down.
func (h *releases) Observed(ctx context.Context, in driver.Input, keys []plan.Key) ([]scope, error) {
	about := func(k plan.Key) bool { return strings.HasPrefix(string(k.Address), releaseKind+"/") }
	in.Inventory = maps.Clone(in.Inventory)
	maps.DeleteFunc(in.Inventory, func(k plan.Key, _ driver.Owned) bool { return about(k) })
	if keys != nil {
		keys = slices.DeleteFunc(slices.Clone(keys), about)
	}
	out, err := h.set.Observed(ctx, in, keys)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Err != nil {
			continue
		}
		out[i].Items = slices.DeleteFunc(out[i].Items, h.givenUp)
		for _, x := range h.all() {
			if !x.there() {
				continue
			}
			it := x.item()
			it.Hash, it.Value.live = h.hash("record", recorded(x.rec)), true
			out[i].Items = append(out[i].Items, it)
		}
	}
	return out, nil
}

// givenUp tells an object that is not asked for any more and belongs to a
// release of somebody else by now: it is given up, not removed.
func (h *releases) givenUp(it item) bool {
	o := it.Value.object
	return o.desired == nil && h.others(o) != ""
}

// others gives the release that an object belongs to, if it is none of the
// target's; "" otherwise.
func (h *releases) others(o *object) string {
	if o.live == nil {
		return ""
	}
	owner := release.Owner(o.live)
	for _, x := range h.all() {
		if owner == x.r.String() {
			return ""
		}
	}
	return owner
}

// recorded is what a plan rests on of what Helm has written down.
func recorded(rec *release.Records) any {
	of := func(r *helm.Release) any {
		if r == nil {
			return nil
		}
		return []any{r.Version, r.Info.Status, r.Manifest, r.Config}
	}
	return []any{of(rec.Last), of(rec.Deployed)}
}

// Equal tells that the release is what it should be.
func (h *releases) Equal(want, have item) bool {
	if h.wants() && want.Value.object == h.asked.object {
		return h.asked.wanted.Current
	}
	return h.set.Equal(want, have)
}

// Confirm makes sure that what is desired is what was planned. What a chart
// makes up anew is known only afterwards, and no reason to wait.
func (h *releases) Confirm(c plan.Change, it item) error {
	if it.Value.object != nil && it.Value.desired != nil {
		c.Unknown = it.Value.desired.Unknown
	}
	return h.set.Confirm(c, it)
}

// of gives the release that an item stands for.
func (h *releases) of(it item) *released {
	for _, x := range h.all() {
		if it.Value.object == x.object {
			return x
		}
	}
	return nil
}

// Keep remembers of a release how it is uninstalled.
func (h *releases) Keep(it item) (json.RawMessage, []string, error) {
	if x := h.of(it); x != nil {
		b, err := json.Marshal(x.r.Options)
		return b, nil, err
	}
	return h.set.Keep(it)
}

// Impact counts the objects of a release, not the release.
func (h *releases) Impact(action plan.Action, it, old item) []plan.Impact {
	x := h.of(it)
	if x == nil {
		x = h.of(old)
	}
	if x == nil {
		return h.set.Impact(action, it, old)
	}
	out := []plan.Impact{{Class: "release"}}
	if x.wanted == nil {
		return out
	}
	crds := plan.Impact{Class: "customresourcedefinition"}
	for _, d := range x.wanted.CRDs {
		switch d.Action {
		case "create":
			crds.Create++
		case "update":
			crds.Update++
		}
	}
	if crds.Create+crds.Update > 0 {
		out = append(out, crds)
	}
	return out
}

// shownRelease is a release as plans show it.
type shownRelease struct {
	Chart      string         `json:"chart"`
	Version    string         `json:"version"`
	AppVersion string         `json:"appVersion,omitempty"`
	Revision   int            `json:"revision"`
	Status     string         `json:"status"`
	Values     map[string]any `json:"values,omitempty"`
	Hooks      []string       `json:"hooks,omitempty"`
}

// Show gives what matters of a release.
func (h *releases) Show(it item) (json.RawMessage, []string, error) {
	x := h.of(it)
	if x == nil {
		return h.showObject(it)
	}
	doc := shownRelease{Status: "deployed"}
	sensitive := []string{}
	switch w := x.wanted; {
	case it.Value.live:
		l := x.rec.Last
		doc.Revision, doc.Status = l.Version, l.Info.Status.String()
		if l.Chart != nil && l.Chart.Metadata != nil {
			doc.Chart, doc.Version, doc.AppVersion = l.Chart.Metadata.Name, l.Chart.Metadata.Version, l.Chart.Metadata.AppVersion
		}
		if w != nil {
			doc.Values, doc.Hooks = l.Config, recordedHooks(l)
			sensitive = append(sensitive, hiddenValues(l.Config, w.Values, w.Sensitive)...)
		}
	default:
		doc.Chart, doc.Version, doc.AppVersion, doc.Revision = w.Meta.Name, w.Meta.Version, w.Meta.AppVersion, w.Revision
		doc.Values = w.Values
		sensitive = append(sensitive, under("/values", w.Sensitive)...)
		for i := range w.Hooks {
			doc.Hooks = append(doc.Hooks, hookText(w.Hooks[i].GetKind(), w.Hooks[i].GetName(), w.Hooks[i].Events))
		}
	}
	raw, err := json.Marshal(doc)
	return raw, sensitive, err
}

func hookText(kind, name string, events []string) string {
	return kind + "/" + name + ": " + strings.Join(events, ", ")
}

func recordedHooks(l *helm.Release) []string {
	var out []string
	for _, x := range l.Hooks {
		events := make([]string, len(x.Events))
		for i, e := range x.Events {
			events[i] = e.String()
		}
		out = append(out, hookText(x.Kind, x.Name, events))
	}
	return out
}

// hiddenValues points to recorded values that nobody says may be shown: those
// that are sensitive now, and those that the target does not give.
func hiddenValues(had, gives map[string]any, sensitive []string) []string {
	var out []string
	var walk func(a, b any, at string)
	walk = func(a, b any, at string) {
		x, ok := a.(map[string]any)
		if !ok {
			_, list := a.([]any) // one that changed may have held what is no longer given
			if b == nil || slices.Contains(sensitive, at) || list && !diff.Equal(a, b) {
				out = append(out, "/values"+at)
			}
			return
		}
		y, _ := b.(map[string]any)
		for k, v := range x {
			walk(v, y[k], at+"/"+escape(k))
		}
	}
	walk(had, gives, "")
	for _, p := range sensitive { // also those inside of lists
		out = append(out, "/values"+p)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// anew stands for what a chart makes up anew with every revision.
const anew = "(made anew by the chart)"

// showObject shows an object of the release. What the chart makes up is another
// value each time, and so can't be shown before it is there.
func (h *releases) showObject(it item) (json.RawMessage, []string, error) {
	raw, sensitive, err := h.set.Show(it)
	o := it.Value.object
	if err != nil || it.Value.live || o.desired == nil || !h.deploys() {
		return raw, sensitive, err
	}
	for _, p := range h.unsteady(o) {
		if raw, err = replaced(raw, p, anew); err != nil {
			return nil, nil, err
		}
	}
	return raw, sensitive, nil
}

// unsteady points to what a chart makes up, also where the server moves it.
func (h *releases) unsteady(o *object) []string {
	var out []string
	for _, p := range h.asked.wanted.Unsteady[o.desired.Ref()] {
		out = append(out, p, fromText(p))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// replaced puts a text into a document; a place that is not there is left out.
func replaced(raw json.RawMessage, pointer, text string) (json.RawMessage, error) {
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	at := strings.LastIndex(pointer, "/")
	if at < 0 {
		return raw, nil
	}
	last := strings.NewReplacer("~1", "/", "~0", "~").Replace(pointer[at+1:])
	switch parent := lookup(doc, pointer[:at]).(type) {
	case map[string]any:
		if _, ok := parent[last]; !ok {
			return raw, nil
		}
		parent[last] = text
	case []any:
		var i int
		if _, err := fmt.Sscanf(last, "%d", &i); err != nil || i < 0 || i >= len(parent) {
			return raw, nil
		}
		parent[i] = text
	default:
		return raw, nil
	}
	return json.Marshal(doc)
}
