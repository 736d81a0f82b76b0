package source

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"
)

// Open opens a file or directory.
func (v *View) Open(name string) (fs.File, error) {
	e, err := v.resolve(name, true)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e.IsDir() {
		entries, err := v.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &dirFile{info: fileInfo{name: path.Base(name), mode: fileMode(e.Mode)}, entries: entries}, nil
	}
	b, err := v.content(e)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return &openFile{Reader: bytes.NewReader(b), info: fileInfo{name: path.Base(name), mode: fileMode(e.Mode), size: int64(len(b))}}, nil
}

// ReadFile reads a file.
func (v *View) ReadFile(name string) ([]byte, error) {
	e, err := v.resolve(name, true)
	if err == nil && e.IsDir() {
		err = errIsDir
	}
	var b []byte
	if err == nil {
		b, err = v.content(e)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// ReadDir lists a directory: what lies inside the path and inputs, no more.
func (v *View) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := v.resolve(name, true)
	if err == nil && !e.IsDir() {
		err = errNotDir
	}
	var entries []Entry
	if err == nil {
		entries, err = v.list(e.Path)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		out[i] = dirEntry{view: v, entry: e}
	}
	return out, nil
}

// Stat describes a file; symbolic links are followed.
func (v *View) Stat(name string) (fs.FileInfo, error) { return v.stat(name, true) }

// Lstat describes a file; the last symbolic link is not followed.
func (v *View) Lstat(name string) (fs.FileInfo, error) { return v.stat(name, false) }

func (v *View) stat(name string, follow bool) (fs.FileInfo, error) {
	e, err := v.resolve(name, follow)
	var info fs.FileInfo
	if err == nil {
		info, err = v.info(e)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	fi := info.(fileInfo)
	fi.name = path.Base(name)
	return fi, nil
}

// ReadLink tells where a symbolic link points to, as written.
func (v *View) ReadLink(name string) (string, error) {
	e, err := v.resolve(name, false)
	if err == nil && e.Mode != ModeSymlink {
		err = fs.ErrInvalid
	}
	var to string
	if err == nil {
		to, err = v.link(e)
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return to, nil
}

// info describes an entry. The size of a file means reading it: object ids do
// not hold it.
func (v *View) info(e Entry) (fs.FileInfo, error) {
	fi := fileInfo{name: path.Base(e.Path), mode: fileMode(e.Mode)}
	switch e.Mode {
	case ModeDir, ModeGitlink:
		v.record(e.Path, "dir", "")
	case ModeSymlink:
		to, err := v.link(e)
		if err != nil {
			return nil, err
		}
		fi.size = int64(len(to))
	default:
		b, err := v.content(e)
		if err != nil {
			return nil, err
		}
		fi.size = int64(len(b))
	}
	return fi, nil
}

// content reads a file and remembers that.
func (v *View) content(e Entry) ([]byte, error) {
	b, err := v.snap.tree.Blob(v.ctx, e, v.snap.limits.Blob)
	if err != nil {
		return nil, err
	}
	id, err := v.snap.tree.ID(v.ctx, e)
	if err != nil {
		return nil, err
	}
	if b, err = v.snap.large(v.ctx, e.Path, b); err != nil {
		return nil, err
	}
	return b, v.recordFile(e.Path, id, int64(len(b)))
}

type pathErr string

func (e pathErr) Error() string { return string(e) }

const (
	errIsDir  pathErr = "is a directory"
	errNotDir pathErr = "is not a directory"
)

type openFile struct {
	*bytes.Reader
	info fileInfo
}

// Stat describes the file.
func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close does nothing.
func (f *openFile) Close() error { return nil }

type dirFile struct {
	info    fileInfo
	entries []fs.DirEntry
}

// Stat describes the directory.
func (d *dirFile) Stat() (fs.FileInfo, error) { return d.info, nil }

// Close does nothing.
func (d *dirFile) Close() error { return nil }

// Read fails: a directory has no bytes.
func (d *dirFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errIsDir}
}

// ReadDir gives the next n entries, or all that are left.
func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := d.entries
		d.entries = nil
		return out, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	out := d.entries[:n]
	d.entries = d.entries[n:]
	return out, nil
}

type dirEntry struct {
	view  *View
	entry Entry
}

// Name gives the name in the directory.
func (d dirEntry) Name() string { return path.Base(d.entry.Path) }

// IsDir tells whether it is a directory.
func (d dirEntry) IsDir() bool { return d.entry.IsDir() }

// Type gives the type bits.
func (d dirEntry) Type() fs.FileMode { return fileMode(d.entry.Mode).Type() }

// Info describes the entry, not what a symbolic link points to.
func (d dirEntry) Info() (fs.FileInfo, error) { return d.view.info(d.entry) }

func fileMode(m Mode) fs.FileMode {
	switch m {
	case ModeDir:
		return fs.ModeDir | 0o755
	case ModeExec:
		return 0o755
	case ModeSymlink:
		return fs.ModeSymlink | 0o777
	case ModeFile:
		return 0o644
	default:
		return fs.ModeIrregular
	}
}

type fileInfo struct {
	name string
	mode fs.FileMode
	size int64
}

// Name gives the base name.
func (f fileInfo) Name() string { return f.name }

// Size gives the size in bytes.
func (f fileInfo) Size() int64 { return f.size }

// Mode gives 0644, 0755, a directory or a link: Git knows no more.
func (f fileInfo) Mode() fs.FileMode { return f.mode }

// ModTime is always zero: a revision has no times of files.
func (f fileInfo) ModTime() time.Time { return time.Time{} }

// IsDir tells whether it is a directory.
func (f fileInfo) IsDir() bool { return f.mode.IsDir() }

// Sys gives nothing.
func (f fileInfo) Sys() any { return nil }
