package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/ignore"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

type (
	item  = setplan.Item[side]
	scope = setplan.Scope[side]
	step  = setplan.Step[side]
)

// object is one object: desired, observed or both.
type object struct {
	ref     manifest.Ref
	mapping kube.Mapping
	// missing says why the server has no such kind.
	missing string
	// desired is what the snapshot asks for; nil for an object that is there
	// alone. send is the same, as it is sent.
	desired *manifest.Object
	send    *unstructured.Unstructured
	hash    string // of send
	live    *unstructured.Unstructured
	// unread tells that nobody looked yet whether it is there.
	unread bool
	trial  trial
	marks  stage.Marks // of desired
}

// side is an object as it is desired, or as it is there.
type side struct {
	*object
	live bool
}

// set is one plan or apply.
type set struct {
	*session
	in      driver.Input
	spec    *Spec
	cluster *kube.Cluster
	helm    *releases // where the target is a release, or was one
	want    map[manifest.Ref]*object
	order   []*object
	removal
	hooks   hooks // they are wanted, but in no order
	kinds   defined
	ignored *ignore.Set
	findings
	// planned is what the plan knows, and run how far it has come, in an apply;
	// nil in a plan.
	planned *artefact
	run     *run
}

// findings are what is said of the desired state.
type findings struct {
	warnings plan.Diagnostics
	// incomplete says why nobody knows yet all that is desired: then nothing is
	// planned, for what is missing is not gone.
	incomplete []string
}

func (s *session) set(ctx context.Context, in driver.Input) (*set, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	st := &set{session: s, in: in, spec: spec, want: map[manifest.Ref]*object{}, removal: removal{along: map[plan.Address][]string{}}}
	if st.cluster, err = s.clusterFor(spec); err != nil {
		return nil, err
	}
	var found plan.Diagnostics
	if st.ignored, found = ignore.Compile(spec.IgnoreDifferences); found.Err() != nil {
		return nil, driver.Permanent(fmt.Errorf("spec.ignoreDifferences: %w", found.Err()))
	}
	if in.Mode == plan.Destroy {
		st.helm, err = st.releasesOf(ctx, nil)
		return st, err
	}
	p, err := s.prepared(ctx, in, spec, st.cluster)
	if err != nil {
		return nil, err
	}
	st.warnings = append(st.warnings, p.diagnostics.Warnings()...)
	st.hooks.leftOut = p.leftOut
	if h := spec.Helm; h != nil && h.Mode == render.Release && len(p.incomplete) == 0 && (p.release == nil || p.release.Name == "") {
		return nil, driver.Permanent(errors.New("spec.helm.mode: release, but no chart was found"))
	}
	if st.helm, err = st.releasesOf(ctx, p); err != nil {
		return nil, err
	}
	if st.helm.wants() {
		return st, st.helm.desire(ctx)
	}
	st.incomplete = p.incomplete
	return st, st.desire(ctx, p.objects)
}

// asSet gives what a plan is made with: the set, or the releases in it.
func (s *set) asSet() setplan.Set[side] {
	if s.helm != nil {
		return s.helm
	}
	return s
}

// desire finds out what and where the desired objects are for this server.
func (s *set) desire(ctx context.Context, objects []manifest.Object) error {
	s.kinds = definitions(slices.Concat(objects, s.helm.brings()))
	type answer struct {
		mapping kube.Mapping
		missing string
	}
	known := map[schema.GroupVersionKind]answer{}
	for i := range objects {
		k := objects[i].GroupVersionKind()
		if _, asked := known[k]; asked {
			continue
		}
		m, err := s.cluster.Mapping(ctx, k)
		a := answer{mapping: m}
		switch {
		case errors.Is(err, kube.ErrNoKind):
			a = answer{missing: s.noKind(ctx, k), mapping: kube.Mapping{Kind: k, Namespaced: s.kinds.guess(k.GroupKind(), objects[i], s.spec)}}
		case err != nil:
			return err
		}
		known[k] = a
	}
	var d plan.Diagnostics
	for _, p := range place(s.in, s.spec, objects, func(o *manifest.Object) bool { return known[o.GroupVersionKind()].mapping.Namespaced }, &d) {
		a := known[p.object.GroupVersionKind()]
		o := &object{ref: p.ref, mapping: a.mapping, missing: a.missing, desired: p.object, send: p.object.Unstructured}
		if o.send.GetNamespace() != p.ref.Namespace {
			o.send = o.send.DeepCopy()
			o.send.SetNamespace(p.ref.Namespace)
		}
		o.hash, o.marks = s.hash("desired", s.asked(o)), stage.Of(p.object.Unstructured)
		if s.want[o.ref] = o; o.marks.Hook != nil {
			s.hooks.list = append(s.hooks.list, o)
		} else {
			s.order = append(s.order, o)
		}
	}
	s.warnings = append(s.warnings, d.Warnings()...)
	if err := d.Err(); err != nil {
		return driver.Permanent(err)
	}
	if err := s.ownNamespace(ctx); err != nil {
		return err
	}
	return s.hooks.sign(s.key, objects)
}

// manager is the field manager that the target's objects are written as.
func (s *set) manager() string {
	if s.helm.wants() {
		return release.Manager
	}
	return manager
}

// ours tells that what a field manager changed is drift, and its fields may be
// taken over. Whoever writes as Helm takes the place of trueup itself as well.
func (s *set) ours(m string) bool {
	return s.connect.ours(m) || m == manager && s.manager() != manager
}

// asked is what is asked for of an object, with the rules that it falls under.
func (s *set) asked(o *object) any {
	if s.ignored.About(o.ref) {
		return []any{o.send.Object, s.spec.IgnoreDifferences}
	}
	return o.send.Object
}

// noKind says why a kind is not served.
func (s *set) noKind(ctx context.Context, k schema.GroupVersionKind) string {
	if _, comes := s.kinds[k.GroupKind()]; comes {
		return ""
	}
	if m, err := s.cluster.Preferred(ctx, k.GroupKind()); err == nil {
		return fmt.Sprintf("the API server does not serve %s in version %s; it serves %s", k.Kind, k.GroupVersion(), m.Kind.GroupVersion())
	}
	return fmt.Sprintf("the API server has no kind %s in %s: install its definition first, or add it to the target", k.Kind, k.GroupVersion())
}

// Desired gives what the snapshot asks for.
func (s *set) Desired(context.Context, driver.Input) ([]item, error) {
	all := slices.Concat(s.order, s.hooks.list)
	out := make([]item, len(all))
	for i, o := range all {
		out[i] = item{Key: plan.Key{Address: o.ref.Address()}, Kind: kindName(o.ref), Class: o.class(), Hash: o.hash, Source: o.desired.Source, Value: side{object: o}}
	}
	return out, nil
}

// Equal tells what the dry run found.
func (s *set) Equal(want, _ item) bool { return want.Value.trial.equal }

// kept is what is remembered of an object: what its manifest alone would tell
// when it is gone from the snapshot.
type kept struct {
	APIVersion string `json:"apiVersion"`
	// Keep and Confirm are the annotations that spare it from being deleted.
	Keep    string `json:"keep,omitempty"`
	Confirm string `json:"confirm,omitempty"`
	Wave    int    `json:"wave,omitempty"`
	// Sensitive points to what must not show when it is removed, beside the data
	// of Secrets; elements of lists by their names.
	Sensitive []string `json:"sensitive,omitempty"`
}

// Keep gives what is remembered of an object.
func (s *set) Keep(it item) (json.RawMessage, []string, error) {
	k := kept{APIVersion: it.Value.mapping.Kind.GroupVersion().String()}
	if it.Value.object != nil {
		k.Keep, k.Confirm, k.Wave = it.Value.marks.Keep, it.Value.marks.Confirm, it.Value.marks.Wave
		if it.Value.desired != nil {
			k.Sensitive = namedPointers(objectOf(it.Value.send), it.Value.desired.Sensitive)
		}
	}
	b, err := json.Marshal(k)
	return b, nil, err
}

func (o *object) class() string {
	if o.marks.Hook != nil {
		return stage.HookClass
	}
	return classOf(o.ref)
}

// Confirm makes sure that what is desired is what was planned.
func (s *set) Confirm(c plan.Change, it item) error {
	if len(c.Unknown) > 0 {
		return fmt.Errorf("%s waits for a value that is not known yet: %w", c.Key, driver.ErrStale)
	}
	if s.planned.Desired[c.Address] != it.Hash {
		return fmt.Errorf("%s is desired differently now than it was planned: %w", c.Key, driver.ErrStale)
	}
	return nil
}

// classOf is what guards count an object as.
func classOf(r manifest.Ref) string {
	switch kindName(r) {
	case "Namespace":
		return "namespace"
	case "CustomResourceDefinition.apiextensions.k8s.io":
		return "customresourcedefinition"
	case "PersistentVolume", "PersistentVolumeClaim":
		return "volume"
	}
	return "object"
}

// Impact counts an object as one. One that others hang on counts in a class of
// its own as well, so that a guard of its own can protect it.
func (s *set) Impact(action plan.Action, it, old item) []plan.Impact {
	class := it.Class
	if it.Value.object == nil {
		class = old.Class
	}
	im := plan.Impact{Class: class}
	switch action {
	case plan.Create:
		im.Create = 1
	case plan.Delete:
		im.Delete = 1
	case plan.Replace:
		im.Replace = 1
	default:
		im.Update = 1
	}
	return []plan.Impact{im}
}

func objectOf(u *unstructured.Unstructured) map[string]any {
	if u == nil {
		return nil
	}
	return u.Object
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
