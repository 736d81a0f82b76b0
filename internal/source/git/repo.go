package git

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"trueup.dev/trueup/internal/source"
)

// maxTree bounds one tree or commit object.
const maxTree = 64 << 20

// cacheNodes is how many names of trees are remembered per repository.
const cacheNodes = 400_000

// repo reads one repository's objects. Trees are cached by their ids, so that
// commits that share directories share the cache. Safe for concurrent use.
type repo struct {
	batch *batch

	mu    sync.Mutex
	dirs  map[string]*dir
	nodes int
}

// dir is a parsed tree object.
type dir struct {
	nodes  []node
	byName map[string]int
}

func newRepo(path string, conf [][2]string) *repo {
	return &repo{batch: &batch{dir: path, conf: conf}, dirs: map[string]*dir{}}
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

func newDir(body []byte) (*dir, error) {
	nodes, err := parseTree(body)
	if err != nil {
		return nil, err
	}
	d := &dir{nodes: nodes, byName: make(map[string]int, len(nodes))}
	for i, n := range nodes {
		if _, ok := d.byName[n.name]; ok {
			return nil, fmt.Errorf("%w: a tree holds %q twice", source.ErrCorrupt, n.name)
		}
		d.byName[n.name] = i
	}
	return d, nil
}

// emptyTree is the id of the tree without entries, which needs no object.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func (r *repo) cached(id string) *dir {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dirs[id]
}

func (r *repo) remember(id string, d *dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes > cacheNodes {
		r.dirs, r.nodes = map[string]*dir{}, 0
	}
	if _, ok := r.dirs[id]; !ok {
		r.dirs[id] = d
		r.nodes += len(d.nodes) + 4
	}
}

// trees gives the parsed trees of these ids, reading in one go what isn't
// cached.
func (r *repo) trees(ctx context.Context, ids ...string) ([]*dir, error) {
	out := make([]*dir, len(ids))
	var missing []string
	var at []int
	for i, id := range ids {
		if id == emptyTree {
			out[i] = &dir{}
		} else if out[i] = r.cached(id); out[i] == nil {
			missing, at = append(missing, id), append(at, i)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	objs, err := r.batch.read(ctx, maxTree, missing...)
	if err != nil {
		return nil, err
	}
	for k, o := range objs {
		if o.kind != "tree" {
			return nil, fmt.Errorf("%w: tree %s is missing", source.ErrCorrupt, missing[k])
		}
		d, err := newDir(o.body)
		if err != nil {
			return nil, fmt.Errorf("tree %s: %w", o.id, err)
		}
		r.remember(o.id, d)
		out[at[k]] = d
	}
	return out, nil
}

func (r *repo) tree(ctx context.Context, id string) (*dir, error) {
	d, err := r.trees(ctx, id)
	if err != nil {
		return nil, err
	}
	return d[0], nil
}

// revision reads a commit by any name that cat-file understands.
func (r *repo) revision(ctx context.Context, name string) (source.Revision, error) {
	o, err := r.batch.read(ctx, maxTree, name+"^{commit}")
	if err != nil {
		return source.Revision{}, err
	}
	if o[0].kind != "commit" {
		return source.Revision{}, fmt.Errorf("%s: %w", name, source.ErrNoRef)
	}
	return parseCommit(o[0].id, o[0].body)
}

// blob reads a blob. ok is false when it isn't here.
func (r *repo) blob(ctx context.Context, id string, limit int64) (b []byte, ok bool, err error) {
	o, err := r.batch.read(ctx, limit, id)
	if err != nil {
		return nil, false, err
	}
	if o[0].kind == "" {
		return nil, false, nil
	}
	if o[0].kind != "blob" {
		return nil, false, fmt.Errorf("%w: %s is a %s", source.ErrCorrupt, id, o[0].kind)
	}
	return o[0].body, true, nil
}

// isCorrupt tells whether an error means that the mirror must be made anew.
func isCorrupt(err error) bool { return errors.Is(err, source.ErrCorrupt) }
