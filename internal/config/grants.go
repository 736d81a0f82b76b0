package config

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// GrantsFor gives the grants that let a path of a repository, on a branch, use
// an environment; together they say what may be touched in it. Without any it
// is an error that says what is missing. Branch may be a full ref name; an
// empty one stands for the branch that is followed.
func GrantsFor(s *Server, repository, branch, environment, target string) ([]Grant, error) {
	env := s.Environments[environment]
	if env == nil {
		return nil, fmt.Errorf("there is no environment %q", environment)
	}
	var out []Grant
	var onBranch, ofRepo bool
	var paths []string
	for _, g := range env.Allow {
		if g.Repository != repository {
			continue
		}
		ofRepo = true
		if !grantsBranch(g, s.Repositories[repository], branch) {
			continue
		}
		onBranch = true
		if grantsPath(g.Paths, target) {
			out = append(out, g)
		}
		paths = append(paths, g.Paths...)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case !ofRepo:
		return nil, fmt.Errorf("the environment %q is not granted to the repository %q", environment, repository)
	case !onBranch:
		return nil, fmt.Errorf("the environment %q is not granted to the branch %q of the repository %q", environment, shortRef(branch), repository)
	}
	return nil, fmt.Errorf("the environment %q is granted to the repository %q for %s, not for %q", environment, repository, strings.Join(paths, ", "), target)
}

func shortRef(ref string) string {
	ref = strings.TrimPrefix(ref, "refs/heads/")
	return strings.TrimPrefix(ref, "refs/tags/")
}

// grantsBranch tells whether a grant holds on a branch. A grant that names
// none holds on what the repository follows.
func grantsBranch(g Grant, r *Repository, branch string) bool {
	branch = shortRef(branch)
	if g.Branch != "" {
		ok, err := doublestar.Match(g.Branch, branch)
		return err == nil && ok
	}
	return branch == "" || r == nil || r.Branch == "" || shortRef(r.Branch) == branch
}

// grantsPath tells whether one of the globs covers a path. A directory that
// is named without a glob covers what is below it.
func grantsPath(globs []string, target string) bool {
	if len(globs) == 0 {
		return true
	}
	return slices.ContainsFunc(globs, func(g string) bool {
		g = path.Clean(g)
		if ok, err := doublestar.Match(g, target); err == nil && ok {
			return true
		}
		if g == "." || strings.ContainsAny(g, `*?[{\`) {
			return g == "."
		}
		return strings.HasPrefix(target, g+"/")
	})
}

// granted lists the environments that a repository may use.
func (s *Server) granted(repository string) []string {
	var out []string
	for _, name := range sorted(s.Environments) {
		if slices.ContainsFunc(s.Environments[name].Allow, func(g Grant) bool { return g.Repository == repository }) {
			out = append(out, name)
		}
	}
	return out
}
