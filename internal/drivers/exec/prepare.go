package exec

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

const maxFiles = 50_000

func itoa(n int) string { return strconv.Itoa(n) }

func specOf(in driver.Input) *Spec {
	if s, ok := in.Spec.(*Spec); ok && s != nil {
		return s
	}
	return &Spec{}
}

// Prepare looks whether there are files at all. What they ask for only the
// tool can tell; they themselves stand for it.
func (execDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	spec := specOf(in)
	p := &driver.Prepared{Diagnostics: spec.Validate(), Values: slices.Sorted(maps.Keys(in.Values))}
	for _, n := range p.Values {
		if _, both := spec.Values[n]; both {
			p.Diagnostics.Errorf(plan.Source{}, "values."+n, "rename one of them", "%s is also a value of another target", n)
		}
	}
	if in.Tree == nil {
		p.Diagnostics.Errorf(plan.Source{}, "path", "", "there is no snapshot")
		return p, nil
	}
	err := fs.WalkDir(in.Tree, in.Path, func(n string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() {
			p.Desired = append(p.Desired, driver.Desired{Key: plan.Key{Address: plan.Address("file:" + n)}, Kind: "file", Source: plan.Source{File: n}})
		}
		if len(p.Desired) > maxFiles {
			return driver.Permanent(errors.New("the target has more than 50,000 files"))
		}
		return ctx.Err()
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "name a file or directory of the repository", "there is no %q", in.Path)
		return p, nil
	case err != nil:
		return nil, err
	case len(p.Desired) == 0:
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "an empty directory never removes anything; destroy the target if that is meant", "%s holds no files", in.Path)
	}
	if spec.Entry != "" && p.Diagnostics.Err() == nil {
		if info, err := fs.Stat(in.Tree, path.Join(in.Path, spec.Entry)); err != nil || !info.Mode().IsRegular() {
			p.Diagnostics.Errorf(plan.Source{}, "entry", "name a file below the target's path", "%s is no file of the repository", path.Join(in.Path, spec.Entry))
		}
	}
	return p, nil
}
