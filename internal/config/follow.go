package config

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"trueup.dev/trueup/internal/driver"
)

// Follow asks the target's driver what the target reads beside its path and
// inputs, at the commit that tree is of. Most drivers read nothing else.
func (r *Resolved) Follow(drivers driver.Registry, tree fs.FS) error {
	f, ok := drivers[r.Driver].(driver.Follower)
	if !ok || tree == nil {
		return nil
	}
	found, err := f.Follow(context.Background(), driver.Input{Target: r.ID, Tree: tree, Path: r.Path, Spec: r.Spec})
	if err != nil {
		return err
	}
	for _, p := range found {
		if !fs.ValidPath(p) {
			return fmt.Errorf("%q leaves the repository", p)
		}
	}
	slices.Sort(found)
	r.Followed = slices.Compact(found)
	return nil
}

// Reads gives globs of all that the target reads beside its path: what it
// declares and what its driver found.
func (r *Resolved) Reads() []string {
	if len(r.Followed) == 0 {
		return r.Inputs
	}
	out := slices.Clone(r.Inputs)
	for _, p := range r.Followed {
		out = append(out, globChars.Replace(p))
	}
	return out
}
