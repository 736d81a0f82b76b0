package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"trueup.dev/trueup/internal/secret"
)

// mount is where a secrets engine is.
type mount struct {
	path string // with a trailing slash
	kind string // kv, database, …
	v2   bool
}

// lease is a secret made on demand, kept until its lease ends.
type lease struct {
	id        string
	data      map[string]any
	until     time.Time
	renewAt   time.Time
	increment time.Duration
}

// Reference is a parsed "PATH#FIELD" or "PATH#FIELD@VERSION".
type Reference struct {
	Path    string // mount and path, as `vault kv get` takes them
	Field   string
	Version int // of a key-value engine of version 2; 0 is the newest
}

// ParseReference takes a reference apart.
func ParseReference(rest string) (Reference, error) {
	path, field, ok := strings.Cut(rest, "#")
	path = strings.Trim(path, "/")
	if !ok || path == "" || field == "" {
		return Reference{}, fmt.Errorf("write vault:MOUNT/PATH#FIELD, as vault:kv/dns#tsig")
	}
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." {
			return Reference{}, fmt.Errorf("the path %q has an empty part or a dot", path)
		}
	}
	r := Reference{Path: path, Field: field}
	if i := strings.LastIndex(field, "@"); i > 0 {
		v, err := strconv.Atoi(field[i+1:])
		if err != nil || v < 1 {
			return Reference{}, fmt.Errorf("the version behind @ is a number from 1, found %q", field[i+1:])
		}
		r.Field, r.Version = field[:i], v
	}
	return r, nil
}

// Resolve gives the secret that "PATH#FIELD" names.
func (c *Client) Resolve(ctx context.Context, rest string) (secret.Value, error) {
	r, err := ParseReference(rest)
	if err != nil {
		return secret.Value{}, err
	}
	m, err := c.mount(ctx, r.Path)
	if err != nil {
		return secret.Value{}, err
	}
	var data map[string]any
	if m.kind == "kv" || m.kind == "generic" {
		data, err = c.readKV(ctx, m, r)
	} else {
		data, err = c.readLeased(ctx, r.Path)
	}
	if err != nil {
		return secret.Value{}, err
	}
	v, ok := data[r.Field]
	if !ok {
		return secret.Value{}, fmt.Errorf("vault: %s has no field %q, it has: %s: %w", r.Path, r.Field,
			strings.Join(slices.Sorted(maps.Keys(data)), ", "), secret.ErrNotFound)
	}
	return text(r, v)
}

// text gives a field's value as it would be written.
func text(r Reference, v any) (secret.Value, error) {
	switch v := v.(type) {
	case string:
		return secret.New(v), nil
	case json.Number:
		return secret.New(v.String()), nil
	case bool:
		return secret.New(strconv.FormatBool(v)), nil
	case nil:
		return secret.Value{}, fmt.Errorf("vault: field %q of %s is null: %w", r.Field, r.Path, secret.ErrNotFound)
	}
	b, err := json.Marshal(v)
	return secret.New(string(b)), err
}

// mount finds the secrets engine that a path lies in, as the vault program
// does: any token that may read below a mount may ask for it.
func (c *Client) mount(ctx context.Context, path string) (mount, error) {
	first, _, _ := strings.Cut(path, "/")
	c.mu.Lock()
	for _, m := range c.mounts {
		if strings.HasPrefix(path+"/", m.path) {
			c.mu.Unlock()
			return m, nil
		}
	}
	c.mu.Unlock()
	s, err := c.do(ctx, "find the secrets engine "+first, func(a *api.Client) (*api.Secret, error) {
		return a.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+path)
	})
	var re *api.ResponseError
	if errors.As(err, &re) && re.StatusCode == http.StatusForbidden {
		return mount{}, fmt.Errorf("vault: there is no secrets engine %s, or the policy of this login allows nothing in it", first)
	}
	if err != nil {
		return mount{}, err
	}
	if s == nil {
		return mount{}, fmt.Errorf("vault: there is no secrets engine at %s: %w", first, secret.ErrNotFound)
	}
	m := mount{}
	m.path, _ = s.Data["path"].(string)
	m.kind, _ = s.Data["type"].(string)
	options, _ := s.Data["options"].(map[string]any)
	m.v2 = options["version"] == "2"
	if m.path == "" {
		return m, fmt.Errorf("vault: the answer about the secrets engine %s names no path", first)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mounts[m.path] = m
	return m, nil
}

// readKV reads a key-value engine. Version 2 keeps data below MOUNT/data.
func (c *Client) readKV(ctx context.Context, m mount, r Reference) (map[string]any, error) {
	path, query := r.Path, map[string][]string(nil)
	if m.v2 {
		path = m.path + "data/" + strings.TrimPrefix(r.Path, m.path)
		if r.Version > 0 {
			query = map[string][]string{"version": {strconv.Itoa(r.Version)}}
		}
	} else if r.Version > 0 {
		return nil, fmt.Errorf("vault: %s keeps no versions: leave @%d out", m.path, r.Version)
	}
	s, err := c.do(ctx, "read "+r.Path, func(a *api.Client) (*api.Secret, error) {
		return a.Logical().ReadWithDataWithContext(ctx, path, query)
	})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("vault: there is nothing at %s: %w", r.Path, secret.ErrNotFound)
	}
	if !m.v2 {
		return s.Data, nil
	}
	data, ok := s.Data["data"].(map[string]any)
	if !ok { // deleted or destroyed
		return nil, fmt.Errorf("vault: %s was deleted: %w", r.Path, secret.ErrNotFound)
	}
	return data, nil
}

// readLeased gives a secret made on demand: the one that is leased, or a new
// one. All fields of one path come from one lease, so that a user name and its
// password fit.
func (c *Client) readLeased(ctx context.Context, path string) (map[string]any, error) {
	c.mu.Lock()
	if l := c.leased[path]; l != nil && c.o.Now().Before(l.until) {
		c.mu.Unlock()
		return l.data, nil
	}
	c.mu.Unlock()
	s, err := c.do(ctx, "read "+path, func(a *api.Client) (*api.Secret, error) {
		return a.Logical().ReadWithContext(ctx, path)
	})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("vault: there is nothing at %s: %w", path, secret.ErrNotFound)
	}
	ttl := time.Duration(s.LeaseDuration) * time.Second
	if s.LeaseID == "" || ttl <= 0 {
		return s.Data, nil
	}
	l := &lease{id: s.LeaseID, data: s.Data, increment: ttl, until: c.o.Now().Add(ttl * 9 / 10)}
	if s.Renewable {
		l.renewAt = c.o.Now().Add(ttl * 2 / 3)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leased[path] = l
	return s.Data, nil
}
