package metacache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
)

// feed is one kind in one namespace, or in all of them.
type feed struct {
	c         *Cache
	kind      *kind
	namespace string
	all       bool
	cancel    context.CancelFunc
	used      time.Time     // belongs to the cache's lock
	tried     chan struct{} // closed once it is clear whether it can be followed

	mu      sync.RWMutex
	entries map[string]entry
	live    bool      // the watch is open
	heard   time.Time // when it last said something
	last    *listing
}

// The pauses after a failure.
const (
	minPause = time.Second
	maxPause = time.Minute
	openTime = 30 * time.Second // for the answer to a watch
)

// errUnwatched tells that a kind can't be watched with these credentials.
var errUnwatched = errors.New("it can't be watched")

func newFeed(c *Cache, k *kind, namespace string, all bool) *feed {
	f := &feed{c: c, kind: k, namespace: namespace, all: all, cancel: func() {}, tried: make(chan struct{})}
	if !c.Watch || !slices.Contains(k.Verbs, "watch") {
		close(f.tried)
		return f
	}
	ctx, cancel := context.WithCancel(c.ctx)
	f.cancel = cancel
	c.wg.Go(func() { f.run(ctx) })
	return f
}

// view gives what is known: by the watch as long as it can be believed, else
// by a list.
func (f *feed) view(ctx context.Context) (view, error) {
	select {
	case <-f.tried:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.believed() {
		return f.lookup, nil
	}
	l, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	return func(key string) (entry, bool) { e, ok := l.entries[key]; return e, ok }, nil
}

// believed tells that the watch is open and has said something not long ago.
func (f *feed) believed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.live && time.Since(f.heard) < f.c.Silence
}

func (f *feed) lookup(key string) (entry, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	e, ok := f.entries[key]
	return e, ok
}

// run follows the server until ctx ends, or until it is clear that it can't.
func (f *feed) run(ctx context.Context) {
	var once sync.Once
	tried := func() { once.Do(func() { close(f.tried) }) }
	defer tried()
	for pause := minPause; ; {
		began := time.Now()
		err := f.follow(ctx, tried)
		tried()
		if ctx.Err() != nil || errors.Is(err, errUnwatched) {
			break
		}
		f.c.Log.Debug("a watch begins anew", "kind", f.kind.name, "namespace", f.namespace, "error", err)
		if time.Since(began) > maxPause {
			pause = minPause
		}
		if !sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, maxPause)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live, f.entries = false, nil
}

// follow lists once and watches from there on, until a gap can't be closed.
func (f *feed) follow(ctx context.Context, tried func()) error {
	entries, version, err := f.read(ctx)
	if denied(err) {
		return errors.Join(errUnwatched, err)
	}
	if err != nil {
		return err
	}
	isNew := f.replace(entries)
	for misses := 0; misses < 3; {
		w, err := f.open(ctx, version)
		switch {
		case denied(err), apierrors.IsMethodNotSupported(err):
			return errors.Join(errUnwatched, err)
		case expired(err):
			return err
		case err != nil:
			misses++
			if !sleep(ctx, minPause) {
				return ctx.Err()
			}
			continue
		}
		was := version
		f.hear(true)
		tried()
		f.c.opened(f, isNew)
		isNew = false
		version, err = f.take(ctx, w, version)
		f.hear(false)
		if expired(err) || ctx.Err() != nil {
			return err
		}
		if misses++; version != was {
			misses = 0
		}
	}
	return errors.New("the watch brings nothing")
}

// open begins a watch; a server that does not even answer is given up.
func (f *feed) open(ctx context.Context, version string) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	t := time.AfterFunc(openTime, cancel)
	w, err := f.c.client.WatchMeta(ctx, f.kind.Mapping, f.namespace, version)
	if !t.Stop() && err == nil {
		err = context.DeadlineExceeded
		w.Stop()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &closing{w, cancel}, nil
}

// closing is a watch whose end ends its request.
type closing struct {
	watch.Interface
	cancel context.CancelFunc
}

// Stop ends the watch.
func (c *closing) Stop() {
	c.cancel()
	c.Interface.Stop()
}

// take takes events in until the watch ends, and gives the version up to which
// everything was seen. One that is silent for too long is given up.
func (f *feed) take(ctx context.Context, w watch.Interface, version string) (string, error) {
	defer w.Stop()
	quiet := time.NewTimer(f.c.Silence)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case <-quiet.C:
			return version, errors.New("the watch is silent")
		case ev, ok := <-w.ResultChan():
			if !ok {
				return version, nil
			}
			if ev.Type == watch.Error {
				return version, apierrors.FromObject(ev.Object)
			}
			o, err := meta.Accessor(ev.Object)
			if err != nil {
				return version, err
			}
			f.event(ev.Type, o)
			version = o.GetResourceVersion()
			quiet.Reset(f.c.Silence)
		}
	}
}

// event keeps one object up to date.
func (f *feed) event(kind watch.EventType, o metav1.Object) {
	key := keyOf(o.GetNamespace(), o.GetName())
	f.mu.Lock()
	f.heard = time.Now()
	old, was := f.entries[key]
	var now entry
	switch kind {
	case watch.Added, watch.Modified:
		now = entryOf(o, f.c.Managers)
		f.entries[key] = now
	case watch.Deleted:
		delete(f.entries, key)
	default:
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	if !was || kind == watch.Deleted || old != now {
		f.c.moved(f.kind, key, was && kind != watch.Deleted && old.sum == now.sum)
	}
}

// hear notes that the watch opened or ended.
func (f *feed) hear(live bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = live
	if live {
		f.heard = time.Now()
	}
}

// replace takes over a list, and tells what moved meanwhile; true when nothing
// was known before.
func (f *feed) replace(entries map[string]entry) bool {
	f.mu.Lock()
	old := f.entries
	f.entries = entries
	f.mu.Unlock()
	if old == nil {
		return true
	}
	for key, e := range entries {
		if was, ok := old[key]; !ok || was != e {
			f.c.moved(f.kind, key, ok && was.sum == e.sum)
		}
	}
	for key := range old {
		if _, ok := entries[key]; !ok {
			f.c.moved(f.kind, key, false)
		}
	}
	return false
}

// read lists the metadata, page by page: of each object only its digest stays.
func (f *feed) read(ctx context.Context) (map[string]entry, string, error) {
	select {
	case f.c.lists <- struct{}{}:
		defer func() { <-f.c.lists }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	entries := map[string]entry{}
	version, err := f.c.client.EachMeta(ctx, f.kind.Mapping, f.namespace, func(o *metav1.PartialObjectMetadata) {
		entries[keyOf(o.GetNamespace(), o.GetName())] = entryOf(o, f.c.Managers)
	})
	return entries, version, err
}

// listing is a list that several checks share.
type listing struct {
	began   time.Time
	done    chan struct{}
	entries map[string]entry
	err     error
}

// list gives a list that began not long ago, or makes one.
func (f *feed) list(ctx context.Context) (*listing, error) {
	f.mu.Lock()
	l := f.last
	if l == nil || time.Since(l.began) > f.c.Staleness || l.failed() {
		l = &listing{began: time.Now(), done: make(chan struct{})}
		f.last = l
		f.c.wg.Go(func() {
			defer close(l.done)
			l.entries, _, l.err = f.read(f.c.ctx)
		})
	}
	f.mu.Unlock()
	select {
	case <-l.done:
		return l, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// failed tells that a list ended with an error: the next check makes another.
func (l *listing) failed() bool {
	select {
	case <-l.done:
		return l.err != nil
	default:
		return false
	}
}

// denied tells that the credentials are good and may not do this. Ones that
// are no longer good may be renewed.
func denied(err error) bool {
	return errors.Is(err, kube.ErrDenied) && !errors.Is(err, driver.ErrUnreachable)
}

func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
