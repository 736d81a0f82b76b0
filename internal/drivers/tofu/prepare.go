package tofu

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// kindOutput is the kind of a root module's output.
const kindOutput = "output"

// Prepare parses the root module and the local modules it uses.
func (*tofuDriver) Prepare(_ context.Context, in driver.Input) (*driver.Prepared, error) {
	spec, ok := in.Spec.(*Spec)
	if !ok || spec == nil {
		spec = &Spec{}
	}
	p := &driver.Prepared{}
	p.Diagnostics = append(p.Diagnostics, prefixed(spec.Validate())...)
	r, err := readRoot(in.Tree, in.Path, &p.Diagnostics)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "name the directory of a root module", "there is no directory %q", in.Path)
		return p, nil
	case err != nil:
		return nil, err
	}
	if len(r.resources)+len(r.outputs)+len(r.module.calls) == 0 && p.Diagnostics.Err() == nil {
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "name the directory of a root module", "the directory holds no resources, modules or outputs")
	}
	p.Desired = r.desired()
	checkVarFiles(in, spec, &p.Diagnostics)
	for name := range in.Values {
		if _, declared := r.variables[name]; declared {
			p.Values = append(p.Values, name)
			continue
		}
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "values", "declare variable \""+name+"\" in the root module, or remove the value",
			"the root module declares no variable %q", name)
	}
	slices.Sort(p.Values)
	p.State = r
	return p, nil
}

func prefixed(d plan.Diagnostics) plan.Diagnostics {
	for i := range d {
		d[i].Field = "spec." + d[i].Field
	}
	return d
}

// desired lists what the configuration asks for. A resource with count or
// for_each stands as its block; how many it is only the plan can tell.
func (r *root) desired() []driver.Desired {
	var out []driver.Desired
	add := func(address, kind string, at plan.Source) {
		out = append(out, driver.Desired{Key: plan.Key{Address: plan.Address(address)}, Kind: kind, Source: at})
	}
	each := func(prefix string, m *module) {
		for _, name := range sortedKeys(m.resources) {
			kind, _, _ := strings.Cut(name, ".")
			add(prefix+name, kind, m.resources[name])
		}
	}
	each("", r.module)
	for _, c := range r.calls {
		if m := r.local[c.dir]; m != nil && c.dir != "" {
			each(c.address+".", m)
			continue
		}
		add(c.address, "module", c.at)
	}
	for _, name := range sortedKeys(r.outputs) {
		add("output."+name, kindOutput, r.outputs[name])
	}
	return out
}

func checkVarFiles(in driver.Input, spec *Spec, d *plan.Diagnostics) {
	for i, f := range spec.VarFiles {
		name := path.Join(in.Path, f)
		if !fs.ValidPath(name) {
			continue // Validate has said so
		}
		if _, err := fs.Stat(in.Tree, name); err != nil {
			d.Errorf(plan.Source{File: name}, "spec.varFiles["+itoa(i)+"]", "", "the variable file can't be read: %v", err)
		}
	}
}

// Follow tells which paths outside its own a target reads: local modules and
// variable files. It reads what it can and leaves mistakes to Prepare.
func (*tofuDriver) Follow(_ context.Context, in driver.Input) ([]string, error) {
	var d plan.Diagnostics
	r, err := readRoot(in.Tree, in.Path, &d)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	found := append(sortedKeys(r.local), r.missing...)
	if spec, ok := in.Spec.(*Spec); ok && spec != nil {
		for _, f := range spec.VarFiles {
			if name := path.Join(in.Path, f); fs.ValidPath(name) {
				found = append(found, name)
			}
		}
	}
	found = slices.DeleteFunc(found, func(p string) bool { return p == in.Path || strings.HasPrefix(p, in.Path+"/") })
	slices.Sort(found)
	return slices.Compact(found), nil
}

// rootOf gives what Prepare found, or finds it.
func rootOf(ctx context.Context, in driver.Input) (*root, error) {
	if in.Prepared != nil {
		if r, ok := in.Prepared.State.(*root); ok {
			return r, nil
		}
	}
	p, err := (&tofuDriver{}).Prepare(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := p.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	return p.State.(*root), nil
}
