package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// wanted is what the snapshot asks for: the files and links by path below the
// root. The directories they need are added by a session, which knows which
// of them are there.
type wanted struct {
	spec    *Spec
	entries map[string]*entry
}

// Prepare reads the target's path in the snapshot.
func (*filesDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	r := &reader{in: in, spec: spec, want: &wanted{spec: spec, entries: map[string]*entry{}}, values: map[string]bool{}}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	prep := &driver.Prepared{Diagnostics: r.diags, State: r.want}
	for _, name := range slices.Sorted(mapKeys(r.want.entries)) {
		e := r.want.entries[name]
		prep.Desired = append(prep.Desired, driver.Desired{
			Key: plan.Key{Address: plan.Address(name)}, Kind: e.Kind, Source: plan.Source{File: e.From}})
	}
	prep.Values = slices.Sorted(mapKeys(r.values))
	return prep, nil
}

func specOf(in driver.Input) (*Spec, error) {
	switch s := in.Spec.(type) {
	case nil:
		return &Spec{}, nil
	case *Spec:
		return s, nil
	}
	return nil, driver.Permanent(fmt.Errorf("files: spec is a %T", in.Spec))
}

func scopeOf(in driver.Input) driver.ScopeSpec {
	if in.Scope == nil {
		return (*Scope)(nil)
	}
	return in.Scope
}

type reader struct {
	in     driver.Input
	spec   *Spec
	want   *wanted
	values map[string]bool
	diags  plan.Diagnostics
}

func (r *reader) read(ctx context.Context) error {
	info, err := fs.Stat(r.in.Tree, r.in.Path)
	if errors.Is(err, fs.ErrNotExist) {
		r.diags.Errorf(plan.Source{File: r.in.Path}, "path", "name a directory or file of this commit; to remove what the target owns, destroy it",
			"%s does not exist in the repository", r.in.Path)
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return r.add(ctx, path.Base(r.in.Path), r.in.Path, info)
	}
	err = fs.WalkDir(r.in.Tree, r.in.Path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return r.visit(ctx, name, d)
	})
	if err == nil && len(r.want.entries) == 0 && r.diags.Err() == nil {
		r.diags.Errorf(plan.Source{File: r.in.Path}, "path", "an empty directory never removes anything; destroy the target if that is meant",
			"%s holds no files", r.in.Path)
	}
	return err
}

func (r *reader) visit(ctx context.Context, name string, d fs.DirEntry) error {
	rel := strings.TrimPrefix(strings.TrimPrefix(name, r.in.Path), "/")
	if r.in.Path == "." {
		rel = name
	}
	if rel == "" || rel == "." {
		return nil
	}
	if matchAny(r.spec.Ignore, rel) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if d.IsDir() {
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	return r.add(ctx, rel, name, info)
}

// add takes one file or link in.
func (r *reader) add(ctx context.Context, rel, name string, info fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := plan.Source{File: name}
	e := &entry{From: name, Kind: kindFile, Sensitive: matchAny(r.spec.Sensitive, rel)}
	if isTemp(path.Base(rel)) {
		r.diags.Errorf(at, "", "rename it", "names of the form %s… are taken for files being written", tempPrefix)
		return nil
	}
	if !scopeOf(r.in).Contains(plan.Key{Address: plan.Address(rel)}, e.Kind) {
		r.diags.Errorf(at, "scope", "move the file, or widen the scope", "%s lies outside the target's scope", rel)
		return nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := fs.ReadLink(r.in.Tree, name)
		if err != nil {
			return err
		}
		e.Kind, e.Link = kindSymlink, link
		r.want.entries[rel] = e
		return nil
	}
	if !info.Mode().IsRegular() {
		r.diags.Errorf(at, "", "remove it", "it is neither a file, a symbolic link nor a directory")
		return nil
	}
	e.Mode = 0o644
	if info.Mode().Perm()&0o111 != 0 {
		e.Mode = 0o755
	}
	if m, ok := longestMatch(r.spec.Modes, rel); ok {
		mode, err := parseMode(m)
		if err != nil {
			return driver.Permanent(err)
		}
		e.Mode = mode
	}
	r.want.entries[rel] = e
	if matchAny(r.spec.Templates, rel) {
		e.Template = true
		r.template(e)
		return nil
	}
	return digest(r.in.Tree, e)
}

// digest reads a file of the snapshot once, for its size and sum.
func digest(tree fs.FS, e *entry) error {
	f, err := tree.Open(e.From)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if e.Size, err = copyAll(h, f); err != nil {
		return fmt.Errorf("%s: %w", e.From, err)
	}
	h.Sum(e.Sum[:0])
	return nil
}

// content opens what an entry of the snapshot is to hold.
func (e *entry) content(in driver.Input) (io.ReadCloser, error) {
	if !e.Template {
		return in.Tree.Open(e.From)
	}
	body, err := render(in, e.From)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(body.text)), nil
}
