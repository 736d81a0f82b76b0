package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Snapshot is one revision's files. It is safe for concurrent use.
type Snapshot struct {
	tree   Tree
	limits Limits
	lfs    Objects
}

// Objects gives large files that live beside the tree (Git LFS), by their
// sha256. What it gives has been verified.
type Objects interface {
	Object(ctx context.Context, oid string, size int64) ([]byte, error)
}

// NewSnapshot makes a snapshot of a tree. lfs may be nil: pointers to large
// files are then an error to read.
func NewSnapshot(t Tree, limits Limits, lfs Objects) *Snapshot {
	return &Snapshot{tree: t, limits: limits.WithDefaults(), lfs: lfs}
}

// Tree gives the unconfined tree, for the engine's own use.
func (s *Snapshot) Tree() Tree { return s.tree }

// Close releases what the tree holds open. Snapshots of a mirror hold nothing.
func (s *Snapshot) Close() error {
	if c, ok := s.tree.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Entries lists a directory, recursively if asked: files, links and, beside
// them, directories.
func (s *Snapshot) Entries(ctx context.Context, dir string, recursive bool) ([]Entry, error) {
	var out []Entry
	w := walker{tree: s.tree, nodes: s.limits.Nodes,
		into:  func(Entry) bool { return recursive },
		visit: func(e Entry) error { out = append(out, e); return nil }}
	err := w.walk(ctx, clean(dir))
	return out, err
}

// preloader is a tree that can be read ahead as a whole.
type preloader interface {
	Preload(ctx context.Context) error
}

// Find gives every file of this name in the tree, in the order of the walk.
func (s *Snapshot) Find(ctx context.Context, basename string) ([]Entry, error) {
	if p, ok := s.tree.(preloader); ok {
		if err := p.Preload(ctx); err != nil {
			return nil, err
		}
	}
	var out []Entry
	w := walker{tree: s.tree, nodes: s.limits.Nodes,
		into: func(e Entry) bool { return CheckName(path.Base(e.Path)) == "" },
		visit: func(e Entry) error {
			if path.Base(e.Path) == basename && (e.Mode == ModeFile || e.Mode == ModeExec) {
				out = append(out, e)
			}
			return nil
		}}
	err := w.walk(ctx, ".")
	return out, err
}

// ReadFile reads one file without a view. Links are not followed.
func (s *Snapshot) ReadFile(ctx context.Context, name string) ([]byte, error) {
	e, ok, err := s.tree.Lookup(ctx, clean(name))
	if err != nil {
		return nil, err
	}
	if !ok || e.IsDir() {
		return nil, fmt.Errorf("%s: no such file in this revision: %w", name, fs.ErrNotExist)
	}
	return s.tree.Blob(ctx, e, s.limits.Blob)
}

// ReadEntries reads files found by Find or Entries after bringing all of them
// near at once.
func (s *Snapshot) ReadEntries(ctx context.Context, entries []Entry) ([][]byte, error) {
	if err := s.tree.Prefetch(ctx, entries); err != nil {
		return nil, err
	}
	out := make([][]byte, len(entries))
	for i, e := range entries {
		b, err := s.tree.Blob(ctx, e, s.limits.Blob)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		out[i] = b
	}
	return out, nil
}

// View confines the snapshot to a path and input patterns. A pattern that
// can't be parsed makes every access fail with that error.
func (s *Snapshot) View(name string, inputs []string) *View {
	name = clean(name)
	g, err := NewGlobs(append([]string{Literal(name)}, inputs...)...)
	if err == nil && (path.IsAbs(name) || name == ".." || len(name) > 2 && name[:3] == "../") {
		err = &UnsafeError{Path: name, Reason: "a path starts at the root of the repository and stays below it"}
	}
	return &View{snap: s, path: name, globs: g, err: err, ctx: context.Background(), log: &readLog{reads: map[Read]bool{}}}
}

func clean(p string) string {
	if p == "" {
		return "."
	}
	return path.Clean(p)
}
