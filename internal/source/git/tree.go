package git

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/source"
)

// fetcher brings blobs that a mirror doesn't hold yet.
type fetcher interface {
	fetchBlobs(ctx context.Context, ids []string) error
}

// commitTree is a source.Tree of one commit.
type commitTree struct {
	repo  *repo
	root  string // id of the root tree
	fetch fetcher
	// modules are the submodules that are read, by path; nil where none are.
	modules *modules
}

// Preload reads every tree of the commit, level by level, and so makes a walk
// cheap.
func (t *commitTree) Preload(ctx context.Context) error {
	level, seen := []string{t.root}, map[string]bool{t.root: true}
	for depth := 0; len(level) > 0 && depth < 200; depth++ {
		dirs, err := t.repo.trees(ctx, level...)
		if err != nil {
			return err
		}
		level = nil
		for _, d := range dirs {
			for _, n := range d.nodes {
				if n.mode == source.ModeDir && !seen[n.id] {
					seen[n.id] = true
					level = append(level, n.id)
				}
			}
		}
		if len(seen) > cacheNodes {
			return nil
		}
	}
	return nil
}

// find walks down to a path. Where it enters a submodule, sub is its tree and
// rest the path in it.
func (t *commitTree) find(ctx context.Context, name string) (n node, sub *commitTree, rest string, ok bool, err error) {
	n = node{mode: source.ModeDir, id: t.root}
	if name == "." {
		return n, nil, "", true, nil
	}
	segs := strings.Split(name, "/")
	for i, seg := range segs {
		if n.mode != source.ModeDir {
			return node{}, nil, "", false, nil
		}
		d, err := t.repo.tree(ctx, n.id)
		if err != nil {
			return node{}, nil, "", false, err
		}
		at, found := d.byName[seg]
		if !found {
			return node{}, nil, "", false, nil
		}
		n = d.nodes[at]
		if n.mode == source.ModeGitlink && t.modules != nil {
			sub, err := t.modules.tree(ctx, strings.Join(segs[:i+1], "/"), n.id)
			if err != nil {
				return node{}, nil, "", false, err
			}
			rest := strings.Join(segs[i+1:], "/")
			if rest == "" {
				rest = "."
			}
			return node{mode: source.ModeDir, id: sub.root}, sub, rest, true, nil
		}
	}
	return n, nil, "", true, nil
}

// Lookup gives the entry of a path.
func (t *commitTree) Lookup(ctx context.Context, name string) (source.Entry, bool, error) {
	n, sub, rest, ok, err := t.find(ctx, name)
	if err != nil || !ok {
		return source.Entry{}, false, err
	}
	if sub != nil && rest != "." {
		e, ok, err := sub.Lookup(ctx, rest)
		e.Path = name
		return e, ok, err
	}
	return source.Entry{Path: name, Mode: n.mode, ID: n.id}, true, nil
}

// List gives the entries of a directory by name.
func (t *commitTree) List(ctx context.Context, name string) ([]source.Entry, error) {
	n, sub, rest, ok, err := t.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if sub != nil {
		return t.listModule(ctx, name, sub, rest)
	}
	if !ok || n.mode != source.ModeDir {
		return nil, nil
	}
	d, err := t.repo.tree(ctx, n.id)
	if err != nil {
		return nil, err
	}
	out := make([]source.Entry, len(d.nodes))
	for i, n := range d.nodes {
		p := n.name
		if name != "." {
			p = name + "/" + n.name
		}
		out[i] = source.Entry{Path: p, Mode: n.mode, ID: n.id}
		if n.mode == source.ModeGitlink && t.modules != nil {
			if sub, err := t.modules.tree(ctx, p, n.id); err == nil {
				out[i].Mode, out[i].ID = source.ModeDir, sub.root
			}
		}
	}
	slices.SortFunc(out, func(a, b source.Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

func (t *commitTree) listModule(ctx context.Context, name string, sub *commitTree, rest string) ([]source.Entry, error) {
	list, err := sub.List(ctx, rest)
	for i := range list {
		list[i].Path = name + "/" + path.Base(list[i].Path)
	}
	return list, err
}

// ID gives the object id, which a Git tree always holds.
func (t *commitTree) ID(ctx context.Context, e source.Entry) (string, error) {
	if e.Path == "." {
		return t.root, nil
	}
	return e.ID, nil
}

// Blob reads a file, fetching it if it isn't here.
func (t *commitTree) Blob(ctx context.Context, e source.Entry, limit int64) ([]byte, error) {
	owner, err := t.owner(ctx, e.Path)
	if err != nil {
		return nil, err
	}
	b, ok, err := owner.repo.blob(ctx, e.ID, limit)
	if err != nil || ok {
		return b, err
	}
	if owner.fetch == nil {
		return nil, fmt.Errorf("blob %s is not in this repository: %w", e.ID, source.ErrNoRef)
	}
	if err := owner.fetch.fetchBlobs(ctx, []string{e.ID}); err != nil {
		return nil, err
	}
	b, ok, err = owner.repo.blob(ctx, e.ID, limit)
	if err == nil && !ok {
		err = fmt.Errorf("%w: blob %s was fetched and is not there", source.ErrCorrupt, e.ID)
	}
	return b, err
}

// owner gives the tree of the submodule that a path lies in, or t.
func (t *commitTree) owner(ctx context.Context, name string) (*commitTree, error) {
	if t.modules == nil {
		return t, nil
	}
	_, sub, rest, _, err := t.find(ctx, name)
	if err != nil || sub == nil {
		return t, err
	}
	return sub.owner(ctx, rest)
}

// Prefetch brings the blobs of the entries near, one batch per repository.
func (t *commitTree) Prefetch(ctx context.Context, entries []source.Entry) error {
	byOwner := map[*commitTree][]string{}
	for _, e := range entries {
		if e.Mode == source.ModeDir || e.Mode == source.ModeGitlink {
			continue
		}
		o, err := t.owner(ctx, e.Path)
		if err != nil {
			return err
		}
		byOwner[o] = append(byOwner[o], e.ID)
	}
	for o, ids := range byOwner {
		if o.fetch == nil {
			continue
		}
		if err := o.fetch.fetchBlobs(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

// changed gives the paths that differ between two trees, both sides, sorted.
func (r *repo) changed(ctx context.Context, from, to, at string, add func(string)) error {
	if from == to {
		return nil
	}
	var a, b *dir
	var err error
	if a, err = r.treeOrNone(ctx, from); err != nil {
		return err
	}
	if b, err = r.treeOrNone(ctx, to); err != nil {
		return err
	}
	for _, n := range a.nodes {
		if _, ok := b.byName[n.name]; !ok {
			if err := r.changedNode(ctx, n, node{}, at, add); err != nil {
				return err
			}
		}
	}
	for _, n := range b.nodes {
		var old node
		if i, ok := a.byName[n.name]; ok {
			old = a.nodes[i]
		}
		if err := r.changedNode(ctx, old, n, at, add); err != nil {
			return err
		}
	}
	return nil
}

func (r *repo) changedNode(ctx context.Context, a, b node, at string, add func(string)) error {
	if a.mode == b.mode && a.id == b.id {
		return nil
	}
	p := path.Join(at, a.name)
	if a.name == "" {
		p = path.Join(at, b.name)
	}
	if (a.mode != 0 && a.mode != source.ModeDir) || (b.mode != 0 && b.mode != source.ModeDir) {
		add(p)
	}
	var from, to string
	if a.mode == source.ModeDir {
		from = a.id
	}
	if b.mode == source.ModeDir {
		to = b.id
	}
	return r.changed(ctx, from, to, p, add)
}

func (r *repo) treeOrNone(ctx context.Context, id string) (*dir, error) {
	if id == "" {
		return &dir{}, nil
	}
	return r.tree(ctx, id)
}
