package render

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// memory is a tree of files in memory: a fetched artefact.
type memory map[string][]byte

// Open opens a file or directory.
func (m memory) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if b, ok := m[name]; ok {
		return &remoteFile{Reader: bytes.NewReader(b), info: dirEntry{N: path.Base(name), S: int64(len(b))}}, nil
	}
	entries := m.list(name)
	if entries == nil && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &remoteFile{info: dirEntry{N: path.Base(name), D: true}, entries: entries}, nil
}

func (m memory) list(dir string) []fs.DirEntry {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	seen := map[string]bool{}
	var out []fs.DirEntry
	for name, body := range m {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		first, _, below := strings.Cut(rest, "/")
		if seen[first] {
			continue
		}
		seen[first] = true
		d := dirEntry{N: first, D: below}
		if !below {
			d.S = int64(len(body))
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out
}
