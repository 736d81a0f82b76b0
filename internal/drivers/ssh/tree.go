package ssh

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// maxTree bounds how many files one tree may have.
const maxTree = 100_000

// tree reads a directory of the repository into objects.
func (p *parser) tree(e entry) []*object {
	var s treeSpec
	p.Decode(e.value, &s, e.field)
	p.owners(e, s.Owner, s.Group)
	root, ok := p.source(e, "source", s.Source)
	if !ok {
		return nil
	}
	w := &treeWalk{parser: p, entry: e, spec: &s, root: root, at: p.At(strict.Locate(e.value, "source")),
		dirMode: p.mode(e, "dirMode", s.DirMode, orElse(p.spec.DirMode, "0755"), 0o3777)}
	for _, g := range sortedKeys(s.Modes) {
		m, err := parseMode(s.Modes[g], 0o777)
		if err != nil {
			p.Errorf(e.value, e.field+".modes", `write it in octal and in quotes, for example "0640"`, "%v", err)
		}
		s.Modes[g] = m
	}
	if err := w.walk(); err != nil {
		p.Diags.Errorf(w.at, e.field+".source", "", "%v", err)
		return nil
	}
	if w.files == 0 {
		p.Diags.Errorf(w.at, e.field+".source", "", "%s holds no file: an empty tree never prunes", root)
	}
	return w.out
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

type treeWalk struct {
	*parser
	entry   entry
	spec    *treeSpec
	root    string
	at      plan.Source
	dirMode string
	files   int
	out     []*object
}

func (w *treeWalk) walk() error {
	info, err := fs.Stat(w.in.Tree, w.root)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist in the repository", w.root)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", w.root)
	}
	return fs.WalkDir(w.in.Tree, w.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(name, w.root), "/")
		if rel != "" && matchAny(w.spec.Ignore, rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if len(w.out) > maxTree {
			return fmt.Errorf("it has more than %d files", maxTree)
		}
		return w.take(name, rel, d)
	})
}

func (w *treeWalk) take(name, rel string, d fs.DirEntry) error {
	st := &pathState{Owner: w.spec.Owner, Group: w.spec.Group}
	o := &object{Address: plan.Address(path.Join(w.entry.name, rel)), Source: plan.Source{File: name}, State: st,
		TakeOver: w.spec.TakeOver, Notify: w.spec.Notify}
	if rel == "" {
		o.Source = w.At(w.entry.key)
	} else if strings.HasPrefix(path.Base(rel), stagePrefix) {
		w.Diags.Errorf(plan.Source{File: name}, w.entry.field, "choose another name", "names that begin with %s belong to trueup", stagePrefix)
		return nil
	}
	switch {
	case d.IsDir():
		st.Type, st.Mode = kindDir, w.dirMode
	case d.Type()&fs.ModeSymlink != 0:
		to, err := fs.ReadLink(w.in.Tree, name)
		if err != nil {
			return err
		}
		w.files++
		st.Type, st.To, st.Owner, st.Group = kindSymlink, to, "", ""
	case d.Type().IsRegular():
		w.files++
		st.Type, st.Sensitive = kindFile, matchAny(w.spec.Sensitive, rel)
		if !w.content(st, name, matchAny(w.spec.Templates, rel), plan.Source{File: name}, w.entry.field) {
			return nil
		}
		st.Mode = w.fileMode(rel, w.sums[name].exec)
	default:
		w.Diags.Errorf(plan.Source{File: name}, w.entry.field, "", "it is neither a file nor a directory nor a link")
		return nil
	}
	o.Kind = st.Type
	w.out = append(w.out, o)
	return nil
}

// fileMode gives the mode of the longest glob that matches.
func (w *treeWalk) fileMode(rel string, exec bool) string {
	best, mode := "", "0644"
	if exec {
		mode = "0755"
	}
	for _, g := range sortedKeys(w.spec.Modes) {
		if len(g) > len(best) && matchAny([]string{g}, rel) {
			best, mode = g, w.spec.Modes[g]
		}
	}
	return mode
}
