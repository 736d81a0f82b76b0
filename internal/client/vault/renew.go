package vault

import (
	"context"
	"time"

	"github.com/hashicorp/vault/api"
)

// keepEvery is how often it is looked whether something has to be renewed.
const keepEvery = time.Second

// keep renews the token and the leases until ctx ends.
func (c *Client) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.renewToken(ctx)
			c.renewLeases(ctx)
		}
	}
}

// renewToken renews the login when two thirds of its time are over. When that
// fails nothing is lost: the next call logs in anew.
func (c *Client) renewToken(ctx context.Context) {
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	if t.value == "" || t.renewAt.IsZero() || c.o.Now().Before(t.renewAt) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	s, err := c.with(t.value).Auth().Token().RenewSelfWithContext(ctx, int(t.increment.Seconds()))
	next := t
	switch {
	case err != nil:
		next.renewAt = c.o.Now().Add(max(next.until.Sub(c.o.Now())/3, keepEvery))
	case s != nil && s.Auth != nil:
		next = c.newToken(t.value, time.Duration(s.Auth.LeaseDuration)*time.Second, s.Auth.Renewable)
		next.increment = t.increment
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.value == t.value {
		c.token = next
	}
}

// renewLeases renews what is leased. A lease that can't be renewed for long
// enough is forgotten, so that the next read makes a new secret before the old
// one ends.
func (c *Client) renewLeases(ctx context.Context) {
	c.mu.Lock()
	due := map[string]*lease{}
	for path, l := range c.leased {
		if !l.renewAt.IsZero() && !c.o.Now().Before(l.renewAt) {
			due[path] = l
		} else if !c.o.Now().Before(l.until) {
			delete(c.leased, path)
		}
	}
	c.mu.Unlock()
	for path, l := range due {
		next := c.renewed(ctx, l)
		c.mu.Lock()
		if c.leased[path] == l {
			if next == nil {
				delete(c.leased, path)
			} else {
				c.leased[path] = next
			}
		}
		c.mu.Unlock()
	}
}

// renewed gives a lease as it is after its renewal, nil when it is near its
// end for good.
func (c *Client) renewed(ctx context.Context, l *lease) *lease {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	s, err := c.do(ctx, "renew a lease", func(a *api.Client) (*api.Secret, error) {
		return a.Sys().RenewWithContext(ctx, l.id, int(l.increment.Seconds()))
	})
	next := *l
	if err != nil || s == nil {
		if !c.o.Now().Before(l.until) {
			return nil
		}
		next.renewAt = c.o.Now().Add(keepEvery) // as long as it still holds
		return &next
	}
	ttl := time.Duration(s.LeaseDuration) * time.Second
	if ttl < l.increment/3 {
		return nil // its longest time is nearly over
	}
	next.until, next.renewAt = c.o.Now().Add(ttl*9/10), c.o.Now().Add(ttl*2/3)
	return &next
}
