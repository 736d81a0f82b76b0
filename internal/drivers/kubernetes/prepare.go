package kubernetes

import (
	"context"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// prepared is what the snapshot alone says.
type prepared struct {
	objects []manifest.Object
	// leftOut are objects that are not applied, but stay if they are there.
	leftOut []manifest.Ref
	// incomplete says why it is not the whole truth; then the session renders
	// again.
	incomplete []string
	// diagnostics are what the rendering found; where an object goes is found
	// anew by each session.
	diagnostics plan.Diagnostics
	// release is the chart where it is installed as a release. The objects are
	// then those of a first installation, as far as they can be told.
	release *render.Releasable
	second  second
}

// Prepare reads the snapshot alone.
func (d *kubeDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	prep := &driver.Prepared{}
	if in.Tree == nil {
		prep.Diagnostics.Errorf(plan.Source{}, "path", "", "there is no snapshot")
		return prep, nil
	}
	rin := inputOf(in, spec)
	rin.Cache = d.cache
	r, err := render.Render(ctx, rin)
	if err != nil {
		return nil, err
	}
	st := preparedOf(r)
	prep.State, prep.Values, prep.Diagnostics = st, r.Values, slices.Clone(st.diagnostics)
	if prep.Diagnostics.Err() != nil {
		return prep, nil
	}
	kinds := definitions(st.objects)
	namespaced := func(o *manifest.Object) bool { return kinds.guess(o.GroupVersionKind().GroupKind(), *o, spec) }
	for _, p := range place(in, spec, st.objects, namespaced, &prep.Diagnostics) {
		prep.Desired = append(prep.Desired, driver.Desired{Key: plan.Key{Address: p.ref.Address()}, Kind: kindName(p.ref), Source: p.object.Source})
	}
	if r := st.release; r != nil {
		prep.Desired = append(prep.Desired, driver.Desired{Key: plan.Key{Address: releaseRef(r.Namespace, r.Name).Address()}, Kind: releaseKind,
			Source: chartFile(in, spec)})
	}
	return prep, nil
}

// inputOf is what a rendering without a cluster depends on.
func inputOf(in driver.Input, spec *Spec) render.Input {
	return render.Input{Tree: in.Tree, Path: in.Path, Spec: spec.Spec, Values: in.Values}
}

func preparedOf(r *render.Result) *prepared {
	st := &prepared{objects: slices.Clone(r.Objects), incomplete: r.Incomplete, diagnostics: r.Diagnostics}
	if st.release = r.Release; st.release != nil {
		// Helm runs the hooks, and sends the objects as they are.
		st.objects = slices.DeleteFunc(st.objects, func(o manifest.Object) bool { return o.GetAnnotations()["helm.sh/hook"] != "" })
		return st
	}
	for i := range st.objects {
		normalise(&st.objects[i], len(r.Incomplete) == 0, &st.diagnostics)
	}
	st.objects = slices.DeleteFunc(st.objects, func(o manifest.Object) bool {
		m, found := stage.Read(&o)
		st.diagnostics = append(st.diagnostics, found...)
		if m.LeftOut != "" {
			st.leftOut = append(st.leftOut, o.Ref())
		}
		return m.LeftOut != ""
	})
	return st
}

func specOf(in driver.Input) (*Spec, error) {
	switch s := in.Spec.(type) {
	case nil:
		return &Spec{}, nil
	case *Spec:
		return s, nil
	}
	return nil, driver.Permanent(fmt.Errorf("kubernetes: spec is a %T", in.Spec))
}

// placed is a desired object with the place in the cluster where it goes.
type placed struct {
	object *manifest.Object
	ref    manifest.Ref
}

// place finds out where objects go, and reports those that can't go anywhere,
// go outside the target's scope or are asked for twice. The objects stay as
// they are.
func place(in driver.Input, spec *Spec, objects []manifest.Object, namespaced func(*manifest.Object) bool, d *plan.Diagnostics) []placed {
	out := make([]placed, 0, len(objects))
	first := make(map[manifest.Ref]plan.Source, len(objects))
	for i := range objects {
		o := &objects[i]
		ref := o.Ref()
		switch inside := namespaced(o); {
		case !inside && ref.Namespace != "":
			d.Warnf(o.Source, "metadata.namespace", "remove it", "%s lies in no namespace; %q is left out", kindName(ref), ref.Namespace)
			ref.Namespace = ""
		case inside && ref.Namespace == "" && spec.Namespace == "":
			d.Errorf(o.Source, "metadata.namespace", "set it, or spec.namespace in trueup.yaml", "%s %q has no namespace", kindName(ref), ref.Name)
			continue
		case inside && ref.Namespace == "":
			ref.Namespace = spec.Namespace
		}
		if at, twice := first[ref]; twice {
			d.Errorf(o.Source, "", "remove one of them", "%s is asked for at %s too", ref, at)
			continue
		}
		first[ref] = o.Source
		if sc, ok := in.Scope.(*Scope); ok && !sc.Contains(plan.Key{Address: ref.Address()}, kindName(ref)) {
			d.Errorf(o.Source, "scope", "remove the object, or widen the scope", "%s lies outside the target's scope", ref)
			continue
		}
		out = append(out, placed{object: o, ref: ref})
	}
	return out
}
