package config

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
)

// each is the directory that a target was made for.
type each struct{ base, dir string }

// each makes a target for every directory that the glob finds.
func (r *resolver) each(t *Target, field string) {
	e := &entry{resolver: r, t: t, field: field}
	glob, msg := r.rootedGlob(t.Each)
	base, pattern := path.Split(path.Join(r.base, t.Each))
	base = path.Clean(base)
	switch {
	case msg == "" && strings.ContainsAny(path.Dir(t.Each), `*?[{`):
		msg = "has a glob above its last part"
	case msg == "" && (strings.ContainsAny(pattern, "{}") || strings.Contains(pattern, "**")):
		msg = "may use *, ? and [..] only"
	}
	if msg != "" {
		e.fail("each", "write it like apps/*", "%q %s", t.Each, msg)
		return
	}
	if !strings.Contains(t.Name, "{dir}") && !strings.Contains(t.Name, "{each}") {
		e.fail("name", "put {dir} into it", "every directory would make a target of the same name %q", t.Name)
		return
	}
	dirs, err := r.directories(base, pattern)
	if err != nil {
		e.fail("each", "check the path", "the directory %q can't be listed: %s", base, err)
		return
	}
	if len(dirs) == 0 {
		e.fail("each", "correct the glob, or remove the target", "%q matches no directory; nothing is removed because of it", glob)
		return
	}
	for _, dir := range dirs {
		r.expand(t, field, base, dir)
	}
}

// directories lists the directories below base whose names match. Hidden ones
// are found only by a pattern that starts with a dot.
func (r *resolver) directories(base, pattern string) ([]string, error) {
	if r.Tree == nil {
		return nil, fs.ErrInvalid
	}
	entries, err := fs.ReadDir(r.Tree, base)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() || e.Name() == ".git" || (strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(pattern, ".")) {
			continue
		}
		if ok, err := path.Match(pattern, e.Name()); err != nil {
			return nil, err
		} else if ok {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// expand makes the target of one directory: a copy of what was written, with
// {each} (the directory, as the manifest would write it) and {dir} (its name)
// filled in.
func (r *resolver) expand(t *Target, field, base, dir string) {
	where := path.Join(path.Dir(t.Each), dir)
	fill := strings.NewReplacer("{each}", where, "{dir}", dir)
	one := Target{node: strict.Copy(t.node, fill.Replace)}
	before := r.Errors()
	r.Decode(one.node, &one, field)
	one.complete(r.Decoder, field)
	if r.Errors() != before {
		return
	}
	r.target(&one, field, each{base: base, dir: dir})
}
