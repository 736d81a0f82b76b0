package ssh

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// memFile is one entry of a bundle's tree.
type memFile struct {
	Path string `json:"path"`
	Exec bool   `json:"exec,omitempty"`
	Sum  string `json:"sum,omitempty"`  // of a file
	Link string `json:"link,omitempty"` // of a symbolic link
	Dir  bool   `json:"dir,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// memFS is the tree of a bundle: the part of a snapshot that one host needs.
type memFS struct {
	ctx   context.Context
	files map[string]*memFile
	load  func(ctx context.Context, sum string) ([]byte, error)
}

var (
	_ fs.StatFS     = (*memFS)(nil)
	_ fs.ReadDirFS  = (*memFS)(nil)
	_ fs.ReadLinkFS = (*memFS)(nil)
)

func newMemFS(ctx context.Context, files []memFile, load func(context.Context, string) ([]byte, error)) *memFS {
	m := &memFS{ctx: ctx, files: map[string]*memFile{".": {Path: ".", Dir: true}}, load: load}
	for i := range files {
		f := &files[i]
		if !fs.ValidPath(f.Path) {
			continue
		}
		m.files[f.Path] = f
		for dir := path.Dir(f.Path); m.files[dir] == nil; dir = path.Dir(dir) {
			m.files[dir] = &memFile{Path: dir, Dir: true}
		}
	}
	return m
}

func (m *memFS) find(op, name string) (*memFile, error) {
	f := m.files[name]
	if f == nil || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return f, nil
}

// Open opens a file or directory.
func (m *memFS) Open(name string) (fs.File, error) {
	f, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if f.Dir {
		return &openMem{memFile: f, Reader: bytes.NewReader(nil)}, nil
	}
	b, err := m.load(m.ctx, f.Sum)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openMem{memFile: f, Reader: bytes.NewReader(b)}, nil
}

// Stat describes an entry. Links of a bundle lead nowhere by themselves: what
// they led to in the repository travels under the name that was read.
func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	f, err := m.find("stat", name)
	if err != nil {
		return nil, err
	}
	return memInfo{f}, nil
}

// Lstat describes an entry.
func (m *memFS) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }

// ReadLink gives where a link leads.
func (m *memFS) ReadLink(name string) (string, error) {
	f, err := m.find("readlink", name)
	if err != nil {
		return "", err
	}
	return f.Link, nil
}

// ReadDir lists a directory, sorted.
func (m *memFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := m.find("readdir", name); err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for p, f := range m.files {
		if p != "." && path.Dir(p) == name {
			out = append(out, fs.FileInfoToDirEntry(memInfo{f}))
		}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// memInfo describes an entry.
type memInfo struct{ f *memFile }

// Name is the last part of the path.
func (i memInfo) Name() string { return path.Base(i.f.Path) }

// Size is the length of the content.
func (i memInfo) Size() int64 { return i.f.Size }

// IsDir tells whether it is a directory.
func (i memInfo) IsDir() bool { return i.f.Dir }

// ModTime is not known.
func (i memInfo) ModTime() time.Time { return time.Time{} }

// Sys gives nothing.
func (i memInfo) Sys() any { return nil }

// Mode gives the type, and whether Git marks a file executable.
func (i memInfo) Mode() fs.FileMode {
	switch {
	case i.f.Dir:
		return fs.ModeDir | 0o755
	case i.f.Link != "":
		return fs.ModeSymlink | 0o777
	case i.f.Exec:
		return 0o755
	}
	return 0o644
}

type openMem struct {
	*memFile
	io.Reader
}

// Stat describes the open file.
func (o *openMem) Stat() (fs.FileInfo, error) { return memInfo{o.memFile}, nil }

// Close does nothing.
func (*openMem) Close() error { return nil }
