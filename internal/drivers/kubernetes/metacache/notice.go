package metacache

import (
	"context"
	"strings"
	"time"
)

// settle is how long changes are gathered before targets are told of.
const settle = 300 * time.Millisecond

// moved marks the targets of an object that changed. Slight tells that only
// what is not ours did.
func (c *Cache) moved(k *kind, key string, slight bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noticing == 0 {
		return
	}
	for _, t := range k.index[key] {
		if !slight || t.whole(k, key) {
			c.dirty[t] = true
		}
	}
	c.poke()
}

// poke has marked targets looked at; it is called with the lock.
func (c *Cache) poke() {
	if len(c.dirty) == 0 {
		return
	}
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// opened looks again at what waited for a feed; if it is new, at all that it
// has, for nobody has compared that with what was read before.
func (c *Cache) opened(f *feed, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noticing == 0 {
		return
	}
	for key, targets := range f.kind.index {
		if space, _, ok := strings.Cut(key, "/"); isNew && (f.namespace == "" || ok && space == f.namespace) {
			for _, t := range targets {
				c.dirty[t] = true
			}
		}
	}
	c.poke()
}

// whole tells that every change of an object counts for the target.
func (t *target) whole(k *kind, key string) bool {
	for _, it := range t.items {
		if it.whole && it.kind == k && it.key == key {
			return true
		}
	}
	return false
}

// Notices tells of targets whose objects were changed by others since they
// were last looked at, until ctx ends. Each change of a target is told of once.
// It is a help: what it misses, the next check finds.
func (c *Cache) Notices(ctx context.Context, notify func(id string)) {
	c.mu.Lock()
	c.noticing++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.noticing--
		c.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ctx.Done():
			return
		case <-c.signal:
		}
		if !sleep(ctx, settle) {
			return
		}
		for _, id := range c.news() {
			notify(id)
		}
	}
}

// news takes the marked targets and gives those that are not as they were.
func (c *Cache) news() []string {
	c.mu.Lock()
	marked := c.dirty
	c.dirty = map[*target]bool{}
	c.mu.Unlock()
	var out []string
	for t := range marked {
		c.mu.Lock()
		items, known := t.items, t.baseline != ""
		c.mu.Unlock()
		if !known {
			continue
		}
		now, ok := c.glance(items)
		c.mu.Lock()
		if !ok {
			c.dirty[t] = true // until the watch is back
		} else if t.baseline != "" && now != t.baseline && now != t.noticed {
			t.noticed = now
			out = append(out, t.id)
		}
		c.mu.Unlock()
	}
	return out
}

// glance gives the fingerprint by the watches alone.
func (c *Cache) glance(items []item) (string, bool) {
	feeds := make([]*feed, len(items))
	c.mu.Lock()
	for i, it := range items {
		feeds[i] = c.feed(it)
	}
	c.mu.Unlock()
	for _, f := range feeds {
		if !f.believed() {
			return "", false
		}
	}
	return fingerprint(items, func(i int) (entry, bool) { return feeds[i].lookup(items[i].key) }), true
}
