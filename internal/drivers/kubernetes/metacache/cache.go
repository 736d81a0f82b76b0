package metacache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"trueup.dev/trueup/internal/client/kube"
)

// Client is what the cache asks of an API server; *kube.Cluster is one.
type Client interface {
	EachMeta(ctx context.Context, m kube.Mapping, namespace string, each func(*metav1.PartialObjectMetadata)) (version string, err error)
	WatchMeta(ctx context.Context, m kube.Mapping, namespace, version string) (watch.Interface, error)
}

// The defaults of Options.
const (
	defaultStaleness = 5 * time.Second
	defaultSilence   = 150 * time.Second // the server sends a bookmark about every minute
)

const (
	fewSpaces   = 4 // namespaces of a kind that are followed one by one
	listsAtOnce = 4
	unusedFor   = 24 * time.Hour
	sweepEvery  = 10 * time.Minute
)

// Options say how to keep up with a server.
type Options struct {
	// Managers are the field managers whose fields count.
	Managers []string
	// Watch follows the server where it and the credentials allow that; without
	// it every check lists.
	Watch bool
	// Staleness is how old a list may be to answer a check; 5 s by default.
	Staleness time.Duration
	// Silence is how long a watch may say nothing and still be believed; 150 s
	// by default.
	Silence time.Duration
	Log     *slog.Logger
}

// Cache keeps what is known of the objects of all targets that are checked
// with the same credentials. It is safe for concurrent use.
type Cache struct {
	Options
	client Client
	ctx    context.Context // ends with the cache
	stop   context.CancelFunc
	wg     sync.WaitGroup
	lists  chan struct{}

	mu       sync.Mutex
	kinds    map[schema.GroupVersionResource]*kind
	targets  map[string]*target
	swept    time.Time
	noticing int
	dirty    map[*target]bool
	signal   chan struct{}
}

// kind is one kind with its feeds: by namespace, or "" for all of them.
type kind struct {
	kube.Mapping
	name   string // group/kind
	feeds  map[string]*feed
	spaces map[string]bool // namespaces that were asked for
	narrow bool            // not all namespaces may be read
	index  map[string][]*target
}

// target is what is remembered of one target.
type target struct {
	id    string
	items []item
	used  time.Time
	// baseline is the fingerprint of what was last looked at, and noticed the one
	// that was last told of; "" tells of nothing.
	baseline, noticed string
}

// item is a Want, kept small.
type item struct {
	kind           *kind
	namespace, key string
	whole          bool
}

// New makes a cache; nothing is asked yet.
func New(client Client, o Options) *Cache {
	if o.Staleness == 0 {
		o.Staleness = defaultStaleness
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{Options: o, client: client, lists: make(chan struct{}, listsAtOnce), kinds: map[schema.GroupVersionResource]*kind{},
		targets: map[string]*target{}, dirty: map[*target]bool{}, signal: make(chan struct{}, 1), swept: time.Now()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Close ends all watches.
func (c *Cache) Close() {
	c.stop()
	c.wg.Wait()
}

// Remember notes which objects a target's fingerprint stands for.
func (c *Cache) Remember(id string, wants []Want) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remember(id, wants)
}

func (c *Cache) remember(id string, wants []Want) *target {
	t := c.targets[id]
	if t == nil {
		t = &target{id: id}
		c.targets[id] = t
	}
	t.used = time.Now()
	items := make([]item, len(wants))
	same := len(items) == len(t.items)
	for i, w := range wants {
		items[i] = c.item(w)
		same = same && items[i] == t.items[i]
	}
	if !same {
		c.unindex(t)
		t.items, t.baseline, t.noticed = items, "", ""
		for _, it := range items {
			it.kind.index[it.key] = append(it.kind.index[it.key], t)
		}
	}
	return t
}

func (c *Cache) item(w Want) item {
	k := c.kinds[w.Resource]
	if k == nil {
		k = &kind{Mapping: w.Mapping, name: w.Kind.Group + "/" + w.Kind.Kind, feeds: map[string]*feed{}, spaces: map[string]bool{}, index: map[string][]*target{}}
		c.kinds[w.Resource] = k
	}
	if !k.Namespaced {
		w.Namespace = ""
	}
	return item{kind: k, namespace: w.Namespace, key: keyOf(w.Namespace, w.Name), whole: w.Whole}
}

// unindex takes a target out of the index of its objects.
func (c *Cache) unindex(t *target) {
	for _, it := range t.items {
		list := it.kind.index[it.key]
		for i := range list {
			if list[i] == t {
				list[i] = list[len(list)-1]
				list = list[:len(list)-1]
				break
			}
		}
		if len(list) == 0 {
			delete(it.kind.index, it.key)
		} else {
			it.kind.index[it.key] = list
		}
	}
}

// Knows tells whether a target's objects are remembered.
func (c *Cache) Knows(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets[id] != nil
}

// Read remembers a target's objects and gives the fingerprint of what was read
// of them just now: live gives the i-th, nil where it is not there. It must
// come with its managed fields. From then on the objects are followed.
func (c *Cache) Read(id string, wants []Want, live func(i int) metav1.Object) string {
	entries := make([]*entry, len(wants))
	for i := range wants {
		if o := live(i); o != nil {
			e := entryOf(o, c.Managers)
			entries[i] = &e
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.remember(id, wants)
	if c.Watch {
		for _, it := range t.items {
			c.feed(it)
		}
	}
	t.baseline, t.noticed = fingerprint(t.items, func(i int) (entry, bool) {
		if entries[i] == nil {
			return entry{}, false
		}
		return *entries[i], true
	}), ""
	return t.baseline
}

// Writing tells that the target's objects are about to be written: what moves
// from now on until the next look at them is no news.
func (c *Cache) Writing(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.targets[id]; t != nil {
		t.baseline, t.noticed = "", ""
	}
}

// Fingerprint gives the fingerprint of a target's objects as the server has
// them, "" where it can't be told.
func (c *Cache) Fingerprint(ctx context.Context, id string) (string, error) {
	c.mu.Lock()
	t := c.targets[id]
	if t == nil {
		c.mu.Unlock()
		return "", nil
	}
	t.used = time.Now()
	items := t.items
	c.sweep(t.used)
	c.mu.Unlock()
	fp, err := c.look(ctx, items)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.targets[id] == t && len(items) == len(t.items) {
		t.baseline, t.noticed = fp, ""
	}
	return fp, nil
}

// look reads the feeds of the items.
func (c *Cache) look(ctx context.Context, items []item) (string, error) {
	for {
		views, again, err := c.views(ctx, items)
		if again {
			continue // by namespaces now
		}
		if err != nil {
			return "", err
		}
		return fingerprint(items, func(i int) (entry, bool) { return views[i](items[i].key) }), nil
	}
}

// view finds an object in a feed.
type view func(key string) (entry, bool)

// views gives the view of each item. Again tells that a kind may only be read
// by namespace, which is known from now on.
func (c *Cache) views(ctx context.Context, items []item) (out []view, again bool, err error) {
	feeds := map[*feed][]int{}
	c.mu.Lock()
	for i, it := range items {
		f := c.feed(it)
		feeds[f] = append(feeds[f], i)
	}
	c.mu.Unlock()
	out = make([]view, len(items))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for f, members := range feeds {
		wg.Go(func() {
			v, ferr := f.view(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ferr == nil:
				for _, i := range members {
					out[i] = v
				}
			case f.all && denied(ferr):
				c.narrowed(f)
				again = true
			default:
				err = errors.Join(err, ferr)
			}
		})
	}
	wg.Wait()
	return out, again && err == nil, err
}

// narrowed notes that a kind can't be read in the whole cluster.
func (c *Cache) narrowed(f *feed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.kind.narrow = true
	f.cancel()
	if f.kind.feeds[""] == f {
		delete(f.kind.feeds, "")
	}
}

// feed gives the feed that has an item. Many namespaces of a kind are read in
// one, where that is allowed.
func (c *Cache) feed(it item) *feed {
	k, at := it.kind, it.namespace
	k.spaces[at] = true
	all := k.Namespaced && !k.narrow && len(k.spaces) > fewSpaces
	if all {
		at = ""
	}
	f := k.feeds[at]
	if f == nil {
		f = newFeed(c, k, at, all)
		k.feeds[at] = f
	}
	f.used = time.Now()
	return f
}

// sweep drops what nobody has asked for in a long time.
func (c *Cache) sweep(now time.Time) {
	if now.Sub(c.swept) < sweepEvery {
		return
	}
	c.swept = now
	for id, t := range c.targets {
		if now.Sub(t.used) > unusedFor {
			c.unindex(t)
			delete(c.targets, id)
			delete(c.dirty, t)
		}
	}
	for _, k := range c.kinds {
		for at, f := range k.feeds {
			if now.Sub(f.used) > unusedFor {
				f.cancel()
				delete(k.feeds, at)
				delete(k.spaces, at)
			}
		}
	}
}
