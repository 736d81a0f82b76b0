package render

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// format decides how the path is rendered.
func (r *run) format() (Format, error) {
	s := r.in.Spec
	switch {
	case s.Render != "" && s.Render != Auto:
		return s.Render, nil
	case s.Helm != nil:
		return Helm, nil
	case s.Jsonnet != nil:
		return Jsonnet, nil
	case s.Kustomize != nil:
		return Kustomize, nil
	}
	dir, ok, err := r.files.exists(r.in.Path)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", &fs.PathError{Op: "open", Path: r.in.Path, Err: fs.ErrNotExist}
	case !dir:
		return formatOfFile(r.in.Path), nil
	}
	return r.formatOfDir()
}

func formatOfFile(name string) Format {
	switch {
	case strings.HasSuffix(name, ".tgz"):
		return Helm
	case path.Ext(name) == ".jsonnet":
		return Jsonnet
	}
	return Plain
}

// kustomizationFiles are the names that Kustomize looks for.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

func (r *run) formatOfDir() (Format, error) {
	entries, err := fs.ReadDir(r.files.tree, r.in.Path)
	if err != nil {
		return "", err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	for _, n := range kustomizationFiles {
		if names[n] {
			return Kustomize, nil
		}
	}
	switch {
	case names["Chart.yaml"]:
		return Helm, nil
	case names["main.jsonnet"]:
		return Jsonnet, nil
	}
	return Plain, nil
}

// plain reads YAML and JSON files. A file that can't be read doesn't keep the
// others from being read.
func (r *run) plain() error {
	names, err := r.plainFiles()
	if err != nil {
		return err
	}
	for _, n := range names {
		body, err := r.text(n)
		if err != nil {
			d, ok := inRepository(n, err)
			if !ok {
				return err
			}
			r.out.Diagnostics = append(r.out.Diagnostics, d)
			continue
		}
		if body == nil {
			continue
		}
		r.parse(n, body)
	}
	return nil
}

// parse takes the objects of a file. Lines are those of the file in Git, also
// where it had to be decrypted.
func (r *run) parse(name string, body []byte) {
	docs, found := manifest.Documents(name, body)
	if shown, ok := r.files.shown[name]; ok {
		if places, _ := manifest.Documents(name, shown); len(places) == len(docs) {
			for i := range docs {
				docs[i] = docs[i].At(places[i])
			}
		}
	}
	for _, doc := range docs {
		if r.files.sealed[name] && sealedName(doc.Value) {
			continue // the file is noted
		}
		r.out.Objects = append(r.out.Objects, doc.Objects(&found)...)
	}
	r.out.Diagnostics = append(r.out.Diagnostics, found...)
}

// plainFiles lists the files to read, in the order of their names.
func (r *run) plainFiles() ([]string, error) {
	var out []string
	err := fs.WalkDir(r.files.tree, r.in.Path, func(n string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(n, r.in.Path), "/")
		if r.in.Path == "." {
			rel = n
		}
		switch {
		case n == r.in.Path && !e.IsDir():
			out = append(out, n)
		case n == r.in.Path:
		case matches(r.in.Spec.Exclude, rel), hidden(e.Name()) && !matches(r.in.Spec.Include, rel):
			if e.IsDir() {
				return fs.SkipDir
			}
		case e.IsDir():
		case e.Type()&fs.ModeSymlink != 0:
			return r.link(n, rel, &out)
		case r.wanted(rel):
			out = append(out, n)
		}
		if len(out) > maxFiles {
			return tooMuch("the target's path holds too many files")
		}
		return nil
	})
	return out, err
}

// link takes a symbolic link to a file for the file. Links to directories are
// refused: what lies there would be read twice, or without end.
func (r *run) link(name, rel string, out *[]string) error {
	info, err := fs.Stat(r.files.tree, name)
	switch {
	case err != nil:
		d, ok := inRepository(name, err)
		if !ok {
			return err
		}
		r.out.Diagnostics = append(r.out.Diagnostics, d)
	case info.IsDir():
		return r.failure(&fs.PathError{Op: "read", Path: name, Err: errLinkedDir})
	case r.wanted(rel):
		*out = append(*out, name)
	}
	return nil
}

var errLinkedDir error = tooMuch("it is a symbolic link to a directory, which is not followed: name that directory in a target's path, or list the link under spec.exclude")

// hidden tells that a name is one of the tools' own files, as .sops.yaml and
// .github, or trueup's.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "trueup.yaml" }

func (r *run) wanted(rel string) bool {
	if len(r.in.Spec.Include) > 0 {
		return matches(r.in.Spec.Include, rel)
	}
	switch path.Ext(rel) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return matches(r.in.Spec.Templates, rel)
}

// matches tells whether one of the globs matches a path, relative to the
// target's.
func matches(globs []string, rel string) bool {
	for _, g := range globs {
		if ok, err := doublestar.Match(strings.TrimPrefix(g, "/"), rel); err == nil && ok {
			return true
		}
	}
	return false
}

// text reads a plain file and fills values in where it is a template. It gives
// nil for a file whose mistake is reported.
func (r *run) text(name string) ([]byte, error) {
	body, err := r.files.open(name)
	if err != nil {
		return nil, err
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(name, r.in.Path), "/")
	if rel == "" {
		rel = path.Base(name)
	}
	if !matches(r.in.Spec.Templates, rel) {
		return body, nil
	}
	out, err := r.fill(name, body)
	var m *templateMistake
	if errors.As(err, &m) {
		r.out.Diagnostics.Errorf(m.at, "", m.mend, "%s", m.text)
		return nil, nil
	}
	return out, err
}

// sealedName tells that what names an object is encrypted.
func sealedName(x any) bool {
	m := asMap(x)
	for _, v := range []any{m["apiVersion"], m["kind"], asMap(m["metadata"])["name"]} {
		if s, ok := v.(string); ok && sealedForm.MatchString(s) {
			return true
		}
	}
	return false
}
