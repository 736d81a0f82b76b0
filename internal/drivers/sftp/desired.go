package sftp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// wanted is what the snapshot asks for: files and links by path below the root.
type wanted struct {
	spec    *Spec
	entries map[string]*entry
}

// maxFiles bounds how many files one target may have.
const maxFiles = 200_000

// Prepare reads the target's path in the snapshot.
func (sftpDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	r := &reader{ctx: ctx, in: in, want: &wanted{spec: specOf(in), entries: map[string]*entry{}}}
	if err := r.read(); err != nil {
		return nil, err
	}
	prep := &driver.Prepared{Diagnostics: r.diags, State: r.want}
	for _, n := range slices.Sorted(maps.Keys(r.want.entries)) {
		e := r.want.entries[n]
		prep.Desired = append(prep.Desired, driver.Desired{Key: plan.Key{Address: plan.Address(n)}, Kind: e.Kind, Source: plan.Source{File: e.From}})
	}
	return prep, nil
}

func specOf(in driver.Input) *Spec {
	if s, ok := in.Spec.(*Spec); ok && s != nil {
		return s
	}
	return &Spec{}
}

func scopeOf(in driver.Input) *Scope {
	s, _ := in.Scope.(*Scope)
	return s
}

type reader struct {
	ctx   context.Context
	in    driver.Input
	want  *wanted
	diags plan.Diagnostics
}

func (r *reader) read() error {
	info, err := fs.Stat(r.in.Tree, r.in.Path)
	if errors.Is(err, fs.ErrNotExist) {
		r.diags.Errorf(plan.Source{File: r.in.Path}, "path", "name a directory or file of this commit; to remove what the target owns, destroy it",
			"%s does not exist in the repository", r.in.Path)
		return nil
	}
	if err != nil {
		return err
	}
	spec := r.want.spec
	r.diags = append(r.diags, spec.Validate()...)
	if r.diags.Err() != nil {
		return nil
	}
	switch {
	case len(spec.Files) > 0:
		for _, remote := range sorted(spec.Files) {
			if err := r.mapped(remote, path.Join(r.in.Path, spec.Files[remote])); err != nil {
				return err
			}
		}
	case !info.IsDir():
		return r.add(path.Base(r.in.Path), r.in.Path, info)
	default:
		if err := fs.WalkDir(r.in.Tree, r.in.Path, r.visit); err != nil {
			return err
		}
	}
	if len(r.want.entries) == 0 && r.diags.Err() == nil {
		r.diags.Errorf(plan.Source{File: r.in.Path}, "path", "an empty directory never removes anything; destroy the target if that is meant", "%s holds no files", r.in.Path)
	}
	return nil
}

func (r *reader) mapped(remote, from string) error {
	info, err := fs.Stat(r.in.Tree, from)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		r.diags.Errorf(plan.Source{}, "files."+remote, "name a file below the target's path", "%s is no file of the repository", from)
		return nil
	}
	if err != nil {
		return err
	}
	return r.add(remote, from, info)
}

func (r *reader) visit(n string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel := n
	if r.in.Path != "." {
		rel = strings.TrimPrefix(strings.TrimPrefix(n, r.in.Path), "/")
	}
	if rel == "" || rel == "." {
		return nil
	}
	if matchAny(r.want.spec.Ignore, rel) {
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
	return r.add(rel, n, info)
}

// add takes one file or link in.
func (r *reader) add(rel, from string, info fs.FileInfo) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	at := plan.Source{File: from}
	if len(r.want.entries) >= maxFiles {
		return driver.Permanent(fmt.Errorf("the target has more than %d files", maxFiles))
	}
	e := &entry{Kind: kindFile, From: from, Sensitive: matchAny(r.want.spec.Sensitive, rel)}
	r.want.entries[rel] = e
	switch {
	case strings.HasPrefix(path.Base(rel), tempPrefix):
		r.diags.Errorf(at, "", "rename it", "names of the form %s… are taken for files being written", tempPrefix)
		return nil
	case !scopeOf(r.in).Contains(plan.Key{Address: plan.Address(rel)}, e.Kind):
		r.diags.Errorf(at, "scope", "move the file, or widen the scope", "%s lies outside the target's scope", rel)
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := fs.ReadLink(r.in.Tree, from)
		e.Kind, e.Link = kindSymlink, link
		return err
	case !info.Mode().IsRegular():
		r.diags.Errorf(at, "", "remove it", "it is neither a file, a symbolic link nor a directory")
		return nil
	}
	if err := r.settings(rel, e, info); err != nil {
		return err
	}
	f, err := r.in.Tree.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if e.Size, err = io.Copy(h, f); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	h.Sum(e.Sum[:0])
	return nil
}

func (r *reader) settings(rel string, e *entry, info fs.FileInfo) error {
	if o, ok := longest(r.want.spec.Owners, rel); ok {
		e.Owner = o
	}
	if r.want.spec.IgnoreModes {
		return nil
	}
	e.Mode = 0o644
	if info.Mode().Perm()&0o111 != 0 {
		e.Mode = 0o755
	}
	if m, ok := longest(r.want.spec.Modes, rel); ok {
		mode, err := parseMode(m)
		if err != nil {
			return driver.Permanent(err)
		}
		e.Mode = mode
	}
	return nil
}
