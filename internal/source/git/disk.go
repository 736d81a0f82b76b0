package git

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/source"
)

// diskTree is a working tree as it is on disk, read through one os.Root. Its
// object ids are those that a commit of it would get.
type diskTree struct {
	root *os.Root
	// known are the names by directory that Git would commit; nil where the
	// directory is not a working tree, and everything counts.
	known map[string][]string
	seen  map[string]bool // every path in known

	mu  sync.Mutex
	ids map[string]diskID
}

type diskID struct {
	info fs.FileInfo
	id   string
}

// newDiskTree indexes the paths that git knows of.
func newDiskTree(root *os.Root, paths []string) *diskTree {
	t := &diskTree{root: root, ids: map[string]diskID{}}
	if paths == nil {
		return t
	}
	t.seen, t.known = map[string]bool{}, map[string][]string{}
	for _, p := range paths {
		for p = strings.TrimSuffix(p, "/"); p != "." && p != "" && !t.seen[p]; p = path.Dir(p) {
			t.seen[p] = true
			t.known[path.Dir(p)] = append(t.known[path.Dir(p)], path.Base(p))
		}
	}
	return t
}

// Lookup gives the entry of a path; links on the way are not followed.
func (t *diskTree) Lookup(_ context.Context, name string) (source.Entry, bool, error) {
	if name == "." {
		return source.Entry{Path: ".", Mode: source.ModeDir}, true, nil
	}
	if t.known != nil && !t.seen[name] {
		return source.Entry{}, false, nil
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := t.root.Lstat(dir); err != nil || !info.IsDir() {
			return source.Entry{}, false, nil
		}
	}
	info, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return source.Entry{}, false, nil
	}
	if err != nil {
		return source.Entry{}, false, err
	}
	e, ok := diskEntry(name, info)
	if !ok {
		return e, false, &source.UnsafeError{Path: name, Reason: "is neither a file, a directory nor a symbolic link"}
	}
	return e, true, nil
}

func diskEntry(name string, info fs.FileInfo) (source.Entry, bool) {
	e := source.Entry{Path: name}
	switch {
	case info.IsDir():
		e.Mode = source.ModeDir
	case info.Mode()&fs.ModeSymlink != 0:
		e.Mode = source.ModeSymlink
	case !info.Mode().IsRegular():
		return e, false
	case info.Mode()&0o111 != 0:
		e.Mode = source.ModeExec
	default:
		e.Mode = source.ModeFile
	}
	return e, true
}

// List gives the entries of a directory, without .git and without ids.
func (t *diskTree) List(ctx context.Context, dir string) ([]source.Entry, error) {
	names := t.known[dir]
	if t.known == nil {
		f, err := t.root.Open(dir)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if names, err = f.Readdirnames(-1); err != nil {
			return nil, err
		}
	}
	var out []source.Entry
	for _, n := range names {
		if n == ".git" {
			continue
		}
		e, ok, err := t.Lookup(ctx, path.Join(dir, n))
		if errors.Is(err, source.ErrUnsafe) {
			continue // a socket or device: Git would not commit it
		}
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b source.Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// ID hashes a file, link or directory as Git does.
func (t *diskTree) ID(ctx context.Context, e source.Entry) (string, error) {
	if e.IsDir() {
		return t.dirID(ctx, e.Path)
	}
	info, err := t.root.Lstat(e.Path)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	old, ok := t.ids[e.Path]
	t.mu.Unlock()
	if ok && old.info.Size() == info.Size() && old.info.ModTime().Equal(info.ModTime()) && os.SameFile(old.info, info) {
		return old.id, nil
	}
	body, err := t.Blob(ctx, e, 1<<40)
	if err != nil {
		return "", err
	}
	id := objectID("blob", body)
	t.mu.Lock()
	t.ids[e.Path] = diskID{info: info, id: id}
	t.mu.Unlock()
	return id, nil
}

func (t *diskTree) dirID(ctx context.Context, dir string) (string, error) {
	entries, err := t.List(ctx, dir)
	if err != nil {
		return "", err
	}
	sortAsGit(entries)
	var body []byte
	for _, e := range entries {
		id, err := t.ID(ctx, e)
		if err != nil {
			return "", err
		}
		if e.IsDir() && id == emptyTree {
			continue // Git knows no empty directories
		}
		raw, err := hex.DecodeString(id)
		if err != nil {
			return "", err
		}
		body = append(append(body, fmt.Sprintf("%o %s\x00", e.Mode, path.Base(e.Path))...), raw...)
	}
	return objectID("tree", body), nil
}

// sortAsGit sorts as tree objects are sorted: directories as if their names
// ended with a slash.
func sortAsGit(entries []source.Entry) {
	key := func(e source.Entry) string {
		if e.IsDir() {
			return e.Path + "/"
		}
		return e.Path
	}
	slices.SortFunc(entries, func(a, b source.Entry) int { return strings.Compare(key(a), key(b)) })
}

func objectID(kind string, body []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(body))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// Blob reads a file or a link.
func (t *diskTree) Blob(_ context.Context, e source.Entry, limit int64) ([]byte, error) {
	if e.Mode == source.ModeSymlink {
		to, err := t.root.Readlink(e.Path)
		return []byte(to), err
	}
	// A pipe put in the file's place meanwhile must not block.
	f, err := t.root.OpenFile(e.Path, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &source.UnsafeError{Path: e.Path, Reason: "is not a plain file"}
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes: %w", limit, source.ErrTooLarge)
	}
	return b, err
}

// Prefetch does nothing: the disk is near.
func (t *diskTree) Prefetch(context.Context, []source.Entry) error { return nil }

// Close closes the directory.
func (t *diskTree) Close() error { return t.root.Close() }
