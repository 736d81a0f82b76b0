package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// content gives a file as Kustomize gets it: decrypted, filled in, rewritten.
func (k *kustomization) content(name string) ([]byte, error) {
	if text, ok := k.texts[name]; ok {
		return text, nil
	}
	if m, rel, ok := k.mounted(name); ok {
		return fs.ReadFile(m, rel)
	}
	return k.text(name)
}

func (k *kustomization) isDir(name string) (bool, error) {
	tree, rel := k.files.tree, name
	if m, inside, ok := k.mounted(name); ok {
		tree, rel = m, inside
	}
	info, err := fs.Stat(tree, rel)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// mounted finds the artefact that a path lies in.
func (k *kustomization) mounted(name string) (memory, string, bool) {
	rest, ok := strings.CutPrefix(name, remoteDir+"/")
	if !ok {
		return nil, "", false
	}
	n, inside, _ := strings.Cut(rest, "/")
	m, ok := k.remote[path.Join(remoteDir, n)]
	if inside == "" {
		inside = "."
	}
	return m, inside, ok
}

// shown is how a path is called in messages: a fetched file by its URL.
func (k *kustomization) shown(name string) string {
	rest, ok := strings.CutPrefix(name, remoteDir+"/")
	if !ok {
		return name
	}
	n, inside, _ := strings.Cut(rest, "/")
	for i, url := range sortedKeys(k.in.Spec.Kustomize.Remotes) {
		if fmt.Sprint(i) == n {
			return url + "//" + inside
		}
	}
	return name
}

// snapshotFS is the snapshot as the file system that Kustomize works on, with
// the repository's root at /. It can't be written to.
type snapshotFS struct{ k *kustomization }

var errReadOnly = errors.New("the snapshot can't be written to")

func rel(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

// keep remembers an error that no commit can mend: Kustomize would hide it.
func (s snapshotFS) keep(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := inRepository(name, err); !ok && s.k.err == nil {
		s.k.err = err
	}
	return err
}

// Create refuses.
func (snapshotFS) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir refuses.
func (snapshotFS) Mkdir(string) error { return errReadOnly }

// MkdirAll refuses.
func (snapshotFS) MkdirAll(string) error { return errReadOnly }

// RemoveAll refuses.
func (snapshotFS) RemoveAll(string) error { return errReadOnly }

// WriteFile refuses.
func (snapshotFS) WriteFile(string, []byte) error { return errReadOnly }

// Open opens a file.
func (s snapshotFS) Open(name string) (filesys.File, error) {
	b, err := s.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return readOnly{&remoteFile{Reader: bytes.NewReader(b), info: dirEntry{N: path.Base(name), S: int64(len(b))}}}, nil
}

type readOnly struct{ *remoteFile }

// Write refuses.
func (readOnly) Write([]byte) (int, error) { return 0, errReadOnly }

// IsDir tells whether a path is a directory.
func (s snapshotFS) IsDir(name string) bool {
	dir, err := s.k.isDir(rel(name))
	return err == nil && dir
}

// ReadDir lists a directory.
func (s snapshotFS) ReadDir(name string) ([]string, error) {
	tree, at := s.k.files.tree, rel(name)
	if m, inside, ok := s.k.mounted(at); ok {
		tree, at = m, inside
	}
	entries, err := fs.ReadDir(tree, at)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, s.keep(at, err)
}

// CleanedAbs splits a path into directory and file.
func (s snapshotFS) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	at := rel(name)
	dir, err := s.k.isDir(at)
	switch {
	case err != nil:
		return "", "", s.keep(at, err)
	case dir:
		return filesys.ConfirmedDir(path.Clean("/" + at)), "", nil
	}
	return filesys.ConfirmedDir(path.Dir("/" + at)), path.Base(at), nil
}

// Exists tells whether there is something.
func (s snapshotFS) Exists(name string) bool {
	_, err := s.k.isDir(rel(name))
	return err == nil
}

// Glob lists the paths that match.
func (s snapshotFS) Glob(pattern string) ([]string, error) {
	found, err := fs.Glob(s.k.files.tree, rel(pattern))
	for i := range found {
		found[i] = "/" + found[i]
	}
	return found, err
}

// ReadFile reads a file.
func (s snapshotFS) ReadFile(name string) ([]byte, error) {
	at := rel(name)
	if s.IsDir(name) { // Kustomize tries each path as a file first
		return nil, fmt.Errorf("'%s' is a directory", at)
	}
	b, err := s.k.content(at)
	return b, s.keep(at, err)
}

// Walk refuses: nothing that is switched on walks.
func (snapshotFS) Walk(string, filepath.WalkFunc) error { return errReadOnly }
