package argocd

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// git lists directories or files. With the repository at hand each is found;
// without, one glob of directories becomes one target for each.
func (e *expansion) git(g *handover.Fields) ([]params, error) {
	url, _ := handover.GitURL(g.At("repoURL").Text())
	g.Ignore("revision")
	prefix := g.At("pathParamPrefix").Text()
	tree := e.Tree(url)
	if files := g.At("files"); files.Has() {
		if tree == nil {
			files.Ignore()
			return nil, fmt.Errorf("the files of %s are not at hand (--checkout)", url)
		}
		return e.files(g, tree, prefix)
	}
	var include, exclude []string
	for _, d := range g.At("directories").Items() {
		if d.At("exclude").Yes() {
			exclude = append(exclude, d.At("path").Text())
		} else {
			include = append(include, strings.TrimSuffix(d.At("path").Text(), "/"))
		}
	}
	if len(include) == 1 && len(exclude) == 0 && eachable(include[0]) {
		p := params{values: map[string]any{}, each: include[0]}
		e.symbolic(p.values, include[0], prefix)
		if tree == nil || e.worksForEach(g, p) {
			return e.with(g, []params{p})
		}
	}
	if tree == nil {
		return nil, fmt.Errorf("the directories %s of %s are not at hand (--checkout)", strings.Join(include, ", "), url)
	}
	dirs, err := directories(tree, include, exclude)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, d := range dirs {
		p := params{values: map[string]any{}}
		e.pathValues(p.values, d, prefix)
		out = append(out, p)
	}
	e.out.Differs(e.set, g.Path(), "the directories that there are now are written; one that is added makes no target by itself", "add a target for each new directory")
	return e.with(g, out)
}

// worksForEach tells whether the set's template can be said in one target.
func (e *expansion) worksForEach(g *handover.Fields, p params) bool {
	list, err := (&expansion{converter: e.converter, set: e.set, gt: e.gt}).with(g, []params{{values: maps.Clone(p.values), each: p.each}})
	if err != nil {
		return false
	}
	spec := e.set.At("spec")
	template, _ := spec.At("template").Any().(map[string]any)
	return e.forEach(list[0], template, spec.At("templatePatch").Text()) != nil
}

// eachable tells whether a glob is one that a target's each may have.
func eachable(glob string) bool {
	last := path.Base(glob)
	return !strings.ContainsAny(path.Dir(glob), `*?[{\`) && strings.ContainsAny(last, "*?[") && !strings.ContainsAny(last, "{}") && !strings.Contains(last, "**")
}

func (e *expansion) symbolic(values map[string]any, glob, prefix string) {
	base := strings.TrimSuffix(glob, path.Base(glob))
	e.pathValues(values, base+"\x00", prefix)
	// The directory stands for itself wherever its name or path would be.
	var swap func(v any) any
	swap = func(v any) any {
		switch v := v.(type) {
		case string:
			return strings.NewReplacer(base+"\x00", "{each}", "\x00", "{dir}").Replace(v)
		case map[string]any:
			for k, x := range v {
				v[k] = swap(x)
			}
		case []any:
			for i, x := range v {
				v[i] = swap(x)
			}
		}
		return v
	}
	swap(values)
}

// prefix is what the values of a path were set under.
func (e *expansion) prefix(p params) string {
	for k, v := range p.values {
		if m, ok := v.(map[string]any); ok && e.gt && k != "path" && m["path"] != nil {
			return k
		}
		if rest, ok := strings.CutSuffix(k, ".path.basename"); ok && !e.gt {
			return rest
		}
	}
	return ""
}

// pathValues sets the values of a directory.
func (e *expansion) pathValues(values map[string]any, dir, prefix string) {
	base := path.Base(dir)
	name := normalize(base)
	if base == "\x00" {
		name = base
	}
	segments := strings.Split(dir, "/")
	if !e.gt {
		key := "path"
		if prefix != "" {
			key = prefix + ".path"
		}
		values[key], values[key+".basename"], values[key+".basenameNormalized"] = dir, base, name
		for i, s := range segments {
			values[fmt.Sprintf("%s[%d]", key, i)] = s
		}
		return
	}
	list := make([]any, len(segments))
	for i, s := range segments {
		list[i] = s
	}
	p := map[string]any{"path": dir, "basename": base, "basenameNormalized": name, "segments": list}
	if prefix != "" {
		values[prefix] = map[string]any{"path": p}
	} else {
		values["path"] = p
	}
}

// directories lists those that are included and not excluded, as path.Match
// has it.
func directories(tree fs.FS, include, exclude []string) ([]string, error) {
	var out []string
	count := 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || name == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if count++; count > 100_000 {
			return fmt.Errorf("the repository has more than 100000 directories")
		}
		if matchAny(include, name) && !matchAny(exclude, name) {
			out = append(out, name)
		}
		return nil
	})
	return out, err
}

func matchAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { ok, err := path.Match(g, name); return err == nil && ok })
}

const maxValues = 1 << 20

// files reads the values of each file.
func (e *expansion) files(g *handover.Fields, tree fs.FS, prefix string) ([]params, error) {
	var names, drop []string
	for _, f := range g.At("files").Items() {
		found, err := doublestar.Glob(tree, f.At("path").Text(), doublestar.WithFilesOnly())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.At("path").Text(), err)
		}
		if f.At("exclude").Yes() {
			drop = append(drop, found...)
		} else {
			names = append(names, found...)
		}
	}
	slices.Sort(names)
	var out []params
	for _, n := range slices.Compact(names) {
		if slices.Contains(drop, n) {
			continue
		}
		list, err := e.file(tree, n, prefix)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	e.out.Differs(e.set, g.Path(), "the files that there are now are read; one that is added or changed makes no target by itself", "change the targets with them")
	return e.with(g, out)
}

func (e *expansion) file(tree fs.FS, name, prefix string) ([]params, error) {
	body, err := fs.ReadFile(tree, name)
	if err != nil || len(body) > maxValues {
		return nil, fmt.Errorf("%s can't be read, or is too large", name)
	}
	var one map[string]any
	var many []map[string]any
	if yaml.Unmarshal(body, &one) == nil {
		many = []map[string]any{one}
	} else if err := yaml.Unmarshal(body, &many); err != nil {
		return nil, fmt.Errorf("%s holds no values", name)
	}
	var out []params
	for _, m := range many {
		p := params{values: e.flat(m)}
		e.pathValues(p.values, path.Dir(name), prefix)
		e.fileName(p.values, path.Base(name), prefix)
		out = append(out, p)
	}
	return out, nil
}

func (e *expansion) fileName(values map[string]any, file, prefix string) {
	if !e.gt {
		key := cmp.Or(prefix, "")
		if key != "" {
			key += "."
		}
		values[key+"path.filename"], values[key+"path.filenameNormalized"] = file, normalize(file)
		return
	}
	at := values
	if prefix != "" {
		at, _ = values[prefix].(map[string]any)
	}
	if p, ok := at["path"].(map[string]any); ok {
		p["filename"], p["filenameNormalized"] = file, normalize(file)
	}
}
