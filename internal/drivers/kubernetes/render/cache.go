package render

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// DefaultCache is the memory that a cache may take, in bytes.
const DefaultCache = 64 << 20

// Cache remembers renderings by the object ids of what they read. What was
// decrypted is in it: a cache belongs to those who share the keys. It is safe
// for concurrent use.
type Cache struct {
	limit int64
	salt  [16]byte // keys hold hashes of values, which may be secret

	mu     sync.Mutex
	size   int64
	byKey  map[string]*list.Element // of *entry
	recent *list.List
}

// entry is one rendering, with what it looked at.
type entry struct {
	key    string
	looks  []look
	result *Result
	size   int64
}

// look is one name that a rendering looked at and the id of what was there.
type look struct{ name, id string }

// NewCache makes a cache that keeps to about so many bytes.
func NewCache(bytes int64) *Cache {
	c := &Cache{limit: bytes, byKey: map[string]*list.Element{}, recent: list.New()}
	_, _ = rand.Read(c.salt[:]) // never fails
	return c
}

// render gives what is remembered, or renders and remembers.
func (c *Cache) render(ctx context.Context, in Input, ids driver.Identifier) (*Result, error) {
	key, err := c.key(in)
	if err != nil {
		return nil, err
	}
	if res := c.find(key, ids); res != nil {
		return res, nil
	}
	seen := &tracer{tree: in.Tree, names: map[string]bool{}}
	in.Tree, in.Cache = seen, nil
	res, err := Render(ctx, in)
	if err != nil {
		return res, err
	}
	e := &entry{key: key, result: copyOf(res), size: seen.bytes*2 + 1024}
	for _, o := range res.Objects {
		e.size += 4096 + int64(len(o.Sensitive)+len(o.Unknown))*64
	}
	for _, n := range seen.sorted() {
		e.looks = append(e.looks, look{n, idOf(ids, n)})
	}
	c.keep(e)
	return res, nil
}

// key names all that a rendering depends on but for the files.
func (c *Cache) key(in Input) (string, error) {
	b, err := json.Marshal([]any{Version, in.Path, in.Spec, in.Values, in.Values == nil, in.Capabilities, in.Decrypt != nil, in.Fetch != nil, in.RemoteBases})
	if err != nil {
		return "", fmt.Errorf("the target's spec: %w", err)
	}
	h := sha256.New()
	h.Write(c.salt[:])
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// idOf gives the id of what lies at a name; that nothing does, or that it may
// not be looked at, is one as well.
func idOf(ids driver.Identifier, name string) string {
	id, err := ids.Identify(name)
	var p *fs.PathError
	switch {
	case err == nil:
		return id
	case errors.As(err, &p):
		return "error " + p.Err.Error()
	}
	return "error " + err.Error()
}

// find gives a copy of what is remembered, if all that was looked at is still
// the same.
func (c *Cache) find(key string, ids driver.Identifier) *Result {
	c.mu.Lock()
	at, ok := c.byKey[key]
	var e *entry
	if ok {
		c.recent.MoveToFront(at)
		e, _ = at.Value.(*entry)
	}
	c.mu.Unlock()
	if e == nil {
		return nil
	}
	for _, l := range e.looks {
		if idOf(ids, l.name) != l.id {
			return nil
		}
	}
	return copyOf(e.result)
}

func (c *Cache) keep(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.byKey[e.key])
	if e.size > c.limit {
		return
	}
	c.byKey[e.key] = c.recent.PushFront(e)
	c.size += e.size
	for c.size > c.limit {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) drop(at *list.Element) {
	if at == nil {
		return
	}
	e, _ := c.recent.Remove(at).(*entry)
	delete(c.byKey, e.key)
	c.size -= e.size
}

// copyOf gives a result that can be changed without the other.
func copyOf(r *Result) *Result {
	out := &Result{Values: slices.Clone(r.Values), Incomplete: slices.Clone(r.Incomplete), Diagnostics: slices.Clone(r.Diagnostics), Release: r.Release}
	for _, o := range r.Objects {
		out.Objects = append(out.Objects, manifest.Object{Unstructured: o.DeepCopy(), Source: o.Source,
			Sensitive: slices.Clone(o.Sensitive), Unknown: slices.Clone(o.Unknown)})
	}
	return out
}

// tracer takes note of the names that are looked at.
type tracer struct {
	tree  fs.FS
	mu    sync.Mutex
	names map[string]bool
	bytes int64
}

func (t *tracer) note(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names[name] = true
}

func (t *tracer) sorted() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sortedKeys(t.names)
}

// Open opens a file or directory.
func (t *tracer) Open(name string) (fs.File, error) {
	t.note(name)
	return t.tree.Open(name)
}

// ReadFile reads a file.
func (t *tracer) ReadFile(name string) ([]byte, error) {
	t.note(name)
	b, err := fs.ReadFile(t.tree, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(len(b))
	return b, err
}

// ReadDir lists a directory.
func (t *tracer) ReadDir(name string) ([]fs.DirEntry, error) {
	t.note(name)
	return fs.ReadDir(t.tree, name)
}

// Stat describes a file.
func (t *tracer) Stat(name string) (fs.FileInfo, error) {
	t.note(name)
	return fs.Stat(t.tree, name)
}
