package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/plan"
)

// claimed gives an input in which the target owns all that its releases hold:
// an upgrade removes what the chart no longer has, whoever installed it.
func (h *releases) claimed(ctx context.Context, in driver.Input) (driver.Input, error) {
	in.Inventory = maps.Clone(in.Inventory)
	if in.Inventory == nil {
		in.Inventory = driver.Inventory{}
	}
	for _, x := range h.all() {
		_, ours := in.Inventory[x.key()]
		list, err := h.client.Holds(ctx, x.rec, x.r)
		if err != nil {
			return in, fmt.Errorf("%s: %w", x.ref, err)
		}
		for _, ref := range list {
			k := plan.Key{Address: ref.Address()}
			if _, known := in.Inventory[k]; known || !ours && h.set.want[ref] != nil {
				continue
			}
			in.Inventory[k] = driver.Owned{Key: k, Kind: kindName(ref), Class: classOf(ref)}
		}
	}
	return in, nil
}

// judge completes the changes with what is Helm's own.
func (h *releases) judge(ctx context.Context, p *plan.Plan) error {
	if h == nil {
		return nil
	}
	if len(p.Scopes) == 1 && p.Scopes[0].Unknown != "" {
		return nil
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		ref, err := manifest.ParseAddress(c.Address)
		if err != nil {
			return driver.Permanent(err)
		}
		if x := h.byRef(ref); x != nil {
			h.judgeRelease(c, x)
		} else {
			h.judgeObject(c, ref)
		}
	}
	if err := h.holdHooks(ctx, p); err != nil {
		return err
	}
	h.hold(p)
	return h.beside(ctx, p)
}

func (h *releases) byRef(ref manifest.Ref) *released {
	for _, x := range h.all() {
		if x.ref == ref {
			return x
		}
	}
	return nil
}

// judgeObject says of an object what Helm makes of the change.
func (h *releases) judgeObject(c *plan.Change, ref manifest.Ref) {
	o := h.set.want[ref]
	if o == nil {
		o = h.seen[ref]
	}
	if o == nil {
		return
	}
	switch owner := h.others(o); {
	case owner == "":
	case c.Action == plan.Forget:
		note(c, "it belongs to release %s now", owner)
	case c.Action.Writes() || c.Action == plan.Adopt:
		conflict(c, "it belongs to release %s", owner)
	}
	if h.handsOver() && o.desired != nil && o.live != nil {
		if left := h.leftBehind(o); left != "" {
			note(c, "fields that only Helm wrote stay: %s", left)
		}
	}
	if !h.deploys() {
		return
	}
	if c.Action.Writes() && h.holds(ref) {
		c.Group = string(h.asked.ref.Address())
	}
	if o.desired != nil {
		c.Unknown = slices.Concat(c.Unknown, h.unsteady(o))
	}
}

// leftBehind names fields of an object that only Helm owns, and nobody asks
// for: what is handed over keeps them.
func (h *releases) leftBehind(o *object) string {
	theirs, err := diff.Owned(o.live, release.Manager)
	if err != nil || o.trial.after == nil {
		return ""
	}
	ours, err := diff.Owned(o.trial.after, h.manager())
	if err != nil {
		return ""
	}
	var out []string
	for p := range theirs.Difference(ours).Leaves().All() {
		if text := p.String(); !strings.HasPrefix(text, ".metadata.annotations.meta.helm.sh/") && !strings.HasPrefix(text, ".metadata.labels."+release.ManagedByLabel) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// judgeRelease says what becomes of the release.
func (h *releases) judgeRelease(c *plan.Change, x *released) {
	l := x.rec.Last
	if x.wanted == nil {
		h.judgeGoing(c, x)
		return
	}
	c.Unknown = under("/values", x.wanted.Unknown)
	if c.Action == plan.Adopt || !c.Action.Writes() {
		return
	}
	switch {
	case l == nil:
		note(c, "it is installed")
	case !x.rec.Ours && release.Busy(l) && h.young(x):
		conflict(c, "another client of Helm seems to be at work on it: revision %d is %s since %s", l.Version, l.Info.Status, l.Info.LastDeployed.UTC().Format(time.RFC3339))
	case release.Busy(l):
		note(c, "revision %d was left %s: it is marked as failed, then upgraded", l.Version, l.Info.Status)
	default:
		note(c, "it becomes revision %d: %s", x.wanted.Revision, strings.Join(x.wanted.Differs, ", "))
	}
	if l != nil && !x.rec.Ours {
		note(c, "revision %d was made by another client of Helm", l.Version)
	}
}

// busy is how long another client of Helm is believed to be at work.
const busy = 15 * time.Minute

func (h *releases) young(x *released) bool {
	return h.in.Now.Sub(x.rec.Last.Info.LastDeployed) < busy
}

// judgeGoing says what becomes of a release that is not asked for any more.
func (h *releases) judgeGoing(c *plan.Change, x *released) {
	switch {
	case c.Action == plan.Forget:
		note(c, "Helm does not know it any more")
	case h.handsOver():
		note(c, "its objects stay, as manifests: Helm's records of it and its marks on the objects are removed")
	case x.r.Options.KeepHistory:
		note(c, "it is uninstalled; its history stays")
	default:
		note(c, "it is uninstalled")
	}
}

// handsOver tells that the objects of a release are to be ordinary ones.
func (h *releases) handsOver() bool { return !h.wants() && h.in.Mode != plan.Destroy }

// holdHooks holds a release whose hook has the name of an object that is no
// hook: Helm deletes what has a hook's name before it makes the hook.
func (h *releases) holdHooks(ctx context.Context, p *plan.Plan) error {
	if !h.deploys() || h.asked.r.Options.DisableHooks {
		return nil
	}
	i := slices.IndexFunc(p.Changes, func(c plan.Change) bool { return c.Address == h.asked.ref.Address() && c.Action.Writes() })
	if i < 0 {
		return nil
	}
	for n := range h.asked.wanted.Hooks {
		hook := &h.asked.wanted.Hooks[n].Object
		o := &object{}
		var err error
		if o.mapping, err = h.cluster.Mapping(ctx, hook.GroupVersionKind()); errors.Is(err, kube.ErrNoKind) {
			continue
		}
		if err == nil {
			o.ref, err = h.placeOf(ctx, hook)
		}
		var live *unstructured.Unstructured
		if err == nil {
			live, err = h.get(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("hook %s: %w", hook.Ref(), err)
		}
		if live != nil && live.GetAnnotations()["helm.sh/hook"] == "" {
			conflict(&p.Changes[i], "its hook %s has the name of an object that is no hook, which Helm would delete: rename the hook", o.ref)
		}
	}
	return nil
}

// hold holds all of a release where a part is held: Helm can't leave a part
// out.
func (h *releases) hold(p *plan.Plan) {
	if !h.deploys() {
		return
	}
	var first string
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Conflict != "" && c.Action.Writes() {
			first = cmp.Or(first, string(c.Address))
		}
	}
	for i := range p.Changes {
		if c := &p.Changes[i]; first != "" && c.Conflict == "" && c.Action.Writes() {
			conflict(c, "a release is applied as a whole, and %s is held", first)
		}
	}
}

// beside adds what a deployment brings along and nobody owns afterwards: hooks,
// definitions. Grants are asked about each.
func (h *releases) beside(ctx context.Context, p *plan.Plan) error {
	if !h.deploys() || !slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Address == h.asked.ref.Address() && c.Action.Writes() }) {
		return nil
	}
	var more []plan.Change
	add := func(o *manifest.Object, ref manifest.Ref, format string, args ...any) {
		c := plan.Change{Key: plan.Key{Address: ref.Address()}, Kind: kindName(ref), Action: plan.None, Note: fmt.Sprintf(format, args...)}
		if o != nil {
			c.Source = o.Source
		}
		same := func(x plan.Change) bool { return x.Key == c.Key }
		if !slices.ContainsFunc(p.Changes, same) && !slices.ContainsFunc(more, same) {
			more = append(more, c)
		}
	}
	w := h.asked.wanted
	for i := range w.Hooks {
		if o := &w.Hooks[i].Object; !h.asked.r.Options.DisableHooks {
			ref, err := h.placeOf(ctx, o)
			if err != nil {
				return err
			}
			add(o, ref, "runs as a hook: %s", strings.Join(w.Hooks[i].Events, ", "))
		}
	}
	for i := range w.CRDs {
		if d := &w.CRDs[i]; d.Action != "" {
			add(&d.Object, d.Ref(), "of the chart's directory crds: %sd, and never removed", d.Action)
		}
	}
	for _, c := range more {
		if ref, err := manifest.ParseAddress(c.Address); err != nil || !h.inScope(ref) {
			return driver.Permanent(fmt.Errorf("%s: %s lies outside the target's scope: it %s", c.Source, c.Address, c.Note))
		}
	}
	p.Changes = append(p.Changes, more...)
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return cmp.Compare(a.Address, b.Address) })
	return nil
}

// placeOf finds out where an object goes.
func (h *releases) placeOf(ctx context.Context, o *manifest.Object) (manifest.Ref, error) {
	ref := o.Ref()
	m, err := h.cluster.Mapping(ctx, o.GroupVersionKind())
	if err == nil && m.Namespaced && ref.Namespace == "" {
		ref.Namespace = h.asked.ref.Namespace
	}
	return ref, nil
}
