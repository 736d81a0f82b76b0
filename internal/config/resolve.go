package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Context is what a manifest is resolved against.
type Context struct {
	Repository string
	Server     *Server
	Drivers    driver.Registry
	// Tree is the repository at the commit: directories are listed for `each`,
	// and drivers that follow what a target uses read files.
	Tree fs.FS
	// Branch is the branch or tag that the tree is of; empty is the one that is
	// followed.
	Branch string
	// Alone checks the repository without an operator's configuration: whether
	// environments, grants and commands exist is left open, and so is what only
	// a driver can say. Server may then be empty.
	Alone bool
}

// Resolve expands and checks the targets of one manifest. Targets without a
// mistake are given even where others have one.
func Resolve(ctx Context, file string, m *Manifest) ([]Resolved, plan.Diagnostics) {
	r := &resolver{Context: ctx, Decoder: strict.NewDecoder(file), file: file, base: path.Dir(file), ids: map[string]plan.Source{}}
	for i := range m.Targets {
		t := &m.Targets[i]
		if t.Each == "" {
			r.target(t, fmt.Sprintf("targets[%d]", i), each{})
			continue
		}
		r.each(t, fmt.Sprintf("targets[%d]", i))
	}
	r.link()
	return r.out, ordered(r.Diags)
}

// maxTargets bounds what one manifest expands to.
const maxTargets = 50_000

// resolver expands one manifest.
type resolver struct {
	Context
	*strict.Decoder
	file, base string
	out        []Resolved
	ids        map[string]plan.Source
	over       bool // there are more targets than the bound
}

// entry is a target on its way to being resolved.
type entry struct {
	*resolver
	t     *Target
	field string
	each  each
	path  string
	// globs are the inputs from the root.
	globs []string
}

func (e *entry) fail(at, mend, format string, args ...any) {
	node := e.t.node
	if !e.Full() {
		node = cmp.Or(strict.Locate(e.t.node, at), node)
	}
	e.Errorf(node, strict.Join(e.field, at), mend, format, args...)
}

// target resolves one target in each of its environments.
func (r *resolver) target(t *Target, field string, ea each) {
	before := r.Errors()
	e := &entry{resolver: r, t: t, field: field, each: ea}
	if len(r.out) >= maxTargets {
		if len(r.out) == maxTargets && !r.over {
			r.over = true
			e.fail("name", "split the file", "the file stands for more than %d targets", maxTargets)
		}
		return
	}
	e.names()
	e.paths()
	for i := range t.Health {
		if c := t.Health[i].Command; c != "" && !r.Alone && r.Server.Commands[c] == nil {
			e.fail(fmt.Sprintf("health[%d].command", i), strict.Mend(c, sorted(r.Server.Commands)), "the operator declares no command %q", c)
		}
	}
	e.rollout()
	envs := t.Environments
	if t.Environment != "" {
		envs = []string{t.Environment}
	}
	var done []Resolved
	for i, env := range envs {
		if slices.Contains(envs[:i], env) {
			e.fail(fmt.Sprintf("environments[%d]", i), "remove one of the two", "the environment %q is listed twice", env)
			continue
		}
		if res, ok := e.in(env, i); ok {
			done = append(done, res)
		}
	}
	if r.Errors() != before || before < 0 {
		return
	}
	for i := range done {
		if first, dup := r.ids[done[i].ID]; dup {
			e.fail("name", "give one of them another name", "the target %q stands twice; first at %s", done[i].ID, first)
			continue
		}
		r.ids[done[i].ID] = done[i].Source
		r.out = append(r.out, done[i])
	}
}

func (e *entry) names() {
	if !namePattern.MatchString(e.t.Name) {
		e.fail("name", nameMend, "%q can't be a target's name", e.t.Name)
	}
	if e.t.ID != "" && !namePattern.MatchString(e.t.ID) {
		e.fail("id", nameMend, "%q can't be a target's id", e.t.ID)
	}
	for i, n := range e.t.Previously.Names {
		if !namePattern.MatchString(n) {
			e.fail(fmt.Sprintf("previously.names[%d]", i), nameMend, "%q can't have been a target's name", n)
		}
	}
}

func (e *entry) paths() {
	var msg string
	if e.path, msg = e.rooted(e.t.Path); msg != "" {
		e.fail("path", "write it relative to the directory of "+path.Base(e.file), "%q %s", e.t.Path, msg)
	}
	for i, in := range e.t.Inputs {
		glob, msg := e.rootedGlob(in)
		if msg != "" {
			e.fail(fmt.Sprintf("inputs[%d]", i), "write it relative to the directory of "+path.Base(e.file), "%q %s", in, msg)
		}
		e.globs = append(e.globs, glob)
	}
}

// rooted turns a path of the manifest into one from the repository's root, or
// says what is wrong with it.
func (r *resolver) rooted(p string) (string, string) {
	switch {
	case p == "":
		return "", "is empty"
	case strings.HasPrefix(p, "/"):
		return "", "is absolute"
	case strings.ContainsAny(p, "\\\x00"):
		return "", "holds a character that paths can't have"
	}
	full := path.Join(r.base, p)
	if !fs.ValidPath(full) {
		return "", "leaves the repository"
	}
	if slices.Contains(strings.Split(strings.ToLower(full), "/"), ".git") {
		return "", "is inside .git"
	}
	return full, ""
}

var globChars = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `{`, `\{`, `}`, `\}`)

func (r *resolver) rootedGlob(g string) (string, string) {
	switch {
	case g == "":
		return "", "is empty"
	case strings.HasPrefix(g, "/"):
		return "", "is absolute"
	}
	full := path.Join(globChars.Replace(r.base), g)
	if full == ".." || strings.HasPrefix(full, "../") {
		return "", "leaves the repository"
	}
	return full, badGlob(full)
}
