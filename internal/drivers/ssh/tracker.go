package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
)

// tracker remembers what is read of a snapshot, and shows the document as one
// host may see it.
type tracker struct {
	fs.FS
	name string
	body []byte
	mu   sync.Mutex
	seen map[string]*memFile
}

func (t *tracker) note(f memFile) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[f.Path] == nil {
		t.seen[f.Path] = &f
	}
}

// Open opens a file and remembers it.
func (t *tracker) Open(name string) (fs.File, error) {
	if name == t.name {
		t.note(memFile{Path: name})
		return &openMem{memFile: &memFile{Path: name, Size: int64(len(t.body))}, Reader: bytes.NewReader(t.body)}, nil
	}
	f, err := t.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	switch {
	case info.IsDir():
		t.note(memFile{Path: name, Dir: true})
	case info.Mode().IsRegular():
		t.note(memFile{Path: name, Exec: info.Mode()&0o111 != 0})
	}
	return f, nil
}

// ReadDir lists a directory; of its files those travel that are opened then.
func (t *tracker) ReadDir(name string) ([]fs.DirEntry, error) {
	t.note(memFile{Path: name, Dir: true})
	list, err := fs.ReadDir(t.FS, name)
	for _, e := range list {
		if e.IsDir() {
			t.note(memFile{Path: path.Join(name, e.Name()), Dir: true})
		}
	}
	return list, err
}

// ReadLink reads a link and remembers it.
func (t *tracker) ReadLink(name string) (string, error) {
	to, err := fs.ReadLink(t.FS, name)
	if err == nil {
		t.note(memFile{Path: name, Link: to})
	}
	return to, err
}

// Lstat describes without following links.
func (t *tracker) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(t.FS, name) }

// onlyFor gives a document without the parts for groups that the host is not
// in and for other hosts, and without comments.
func onlyFor(h *inventory.Host, file string, body []byte) ([]byte, error) {
	root, diags := strict.Parse(file, body)
	if err := diags.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	if root == nil {
		return nil, nil
	}
	root = plain(root)
	top := mapping(root)
	if top == nil {
		return nil, driver.Permanent(fmt.Errorf("%s is no mapping", file))
	}
	drop(top, "perGroup", h.In)
	drop(top, "perHost", func(name string) bool { return name == h.Name })
	return yaml.Marshal(root)
}

// drop removes the entries of a section that are not to be kept, and the
// section when nothing is left.
func drop(top *strict.Node, section string, keep func(name string) bool) {
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value != section {
			continue
		}
		m := mapping(top.Content[i+1])
		if m == nil {
			continue
		}
		var left []*strict.Node
		for j := 0; j+1 < len(m.Content); j += 2 {
			if keep(m.Content[j].Value) {
				left = append(left, m.Content[j], m.Content[j+1])
			}
		}
		if m.Content = left; len(left) == 0 {
			top.Content = slices.Delete(top.Content, i, i+2)
			i -= 2
		}
	}
}

// plain copies a node with aliases written out, and without comments.
func plain(n *strict.Node) *strict.Node {
	if n.Kind == yaml.AliasNode {
		return plain(n.Alias)
	}
	c := &strict.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	for _, sub := range n.Content {
		c.Content = append(c.Content, plain(sub))
	}
	return c
}
