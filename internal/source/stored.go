package source

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// BlobStore keeps blobs by object id, apart from any mirror.
type BlobStore interface {
	// Get gives a blob; false when it is not kept.
	Get(id string) ([]byte, bool, error)
	Put(id string, body []byte) error
}

// Save keeps everything that the view may read in a store and gives the
// manifest that Stored opens again.
func (v *View) Save(ctx context.Context, to BlobStore) ([]Entry, error) {
	entries, err := v.Export(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.Prefetch(ctx); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() || e.Mode == ModeGitlink {
			continue
		}
		if err := v.save(ctx, e, to); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
	}
	return entries, nil
}

func (v *View) save(ctx context.Context, e Entry, to BlobStore) error {
	b, err := v.snap.tree.Blob(ctx, e, v.snap.limits.Blob)
	if err != nil {
		return err
	}
	if err := to.Put(e.ID, b); err != nil {
		return err
	}
	ptr, ok := parsePointer(b)
	if !ok || v.snap.lfs == nil || e.Mode == ModeSymlink {
		return nil
	}
	large, err := v.snap.large(ctx, e.Path, b)
	if err != nil {
		return err
	}
	return to.Put(lfsKey(ptr.oid), large)
}

// Stored opens a manifest again, with the blobs from a store. It needs neither
// Git nor a mirror.
func Stored(manifest []Entry, blobs BlobStore, limits Limits) *Snapshot {
	t := &storedTree{blobs: blobs, entries: map[string]Entry{}, dirs: map[string][]Entry{}}
	for _, e := range manifest {
		t.add(e)
	}
	for _, list := range t.dirs {
		sortEntries(list)
	}
	return NewSnapshot(t, limits, storedObjects{blobs})
}

type storedTree struct {
	blobs   BlobStore
	entries map[string]Entry
	dirs    map[string][]Entry
}

// add enters an entry and the directories above it.
func (t *storedTree) add(e Entry) {
	if old, ok := t.entries[e.Path]; ok {
		if old.ID == "" && e.ID != "" {
			t.entries[e.Path] = e
			if e.Path != "." {
				list := t.dirs[path.Dir(e.Path)]
				list[slices.IndexFunc(list, func(x Entry) bool { return x.Path == e.Path })] = e
			}
		}
		return
	}
	t.entries[e.Path] = e
	if e.Path == "." {
		return
	}
	dir := path.Dir(e.Path)
	t.dirs[dir] = append(t.dirs[dir], e)
	t.add(Entry{Path: dir, Mode: ModeDir})
}

// Lookup gives the entry of a path.
func (t *storedTree) Lookup(_ context.Context, name string) (Entry, bool, error) {
	if name == "." {
		return Entry{Path: ".", Mode: ModeDir, ID: t.entries["."].ID}, true, nil
	}
	e, ok := t.entries[name]
	return e, ok, nil
}

// List gives the entries of a directory.
func (t *storedTree) List(_ context.Context, dir string) ([]Entry, error) { return t.dirs[dir], nil }

// ID gives the object id of an entry.
func (t *storedTree) ID(_ context.Context, e Entry) (string, error) {
	if e.Path == "." {
		return t.entries["."].ID, nil
	}
	return e.ID, nil
}

// Blob gives the content of a file.
func (t *storedTree) Blob(_ context.Context, e Entry, limit int64) ([]byte, error) {
	b, ok, err := t.blobs.Get(e.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("blob %s is not in the store: %w", e.ID, ErrCorrupt)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%d bytes, the limit is %d: %w", len(b), limit, ErrTooLarge)
	}
	return slices.Clone(b), nil // the caller may change it
}

// Prefetch does nothing: the store is near.
func (t *storedTree) Prefetch(context.Context, []Entry) error { return nil }

// storedObjects gives large files from the store.
type storedObjects struct{ blobs BlobStore }

// Object gives a large file by its sha256.
func (s storedObjects) Object(_ context.Context, oid string, _ int64) ([]byte, error) {
	b, ok, err := s.blobs.Get(lfsKey(oid))
	if err == nil && !ok {
		err = fmt.Errorf("object %s is not in the store: %w", oid, ErrLFS)
	}
	return slices.Clone(b), err
}

func lfsKey(oid string) string { return "lfs-sha256-" + oid }

func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
}
