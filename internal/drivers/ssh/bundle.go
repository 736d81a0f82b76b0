package ssh

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// carried is the driver's part of a bundle: the document without what it says
// about other hosts, the files that this leads to, and what the host is.
type carried struct {
	Path    string                 `json:"path"` // of the document; "" when nothing is asked for
	Files   []memFile              `json:"files,omitempty"`
	Spec    *Spec                  `json:"spec"`
	Scope   *Scope                 `json:"scope"`
	Values  map[string]plan.Output `json:"values,omitempty"`
	Host    carriedHost            `json:"host"`
	Connect *Connect               `json:"connect"` // without hosts and credentials
}

type carriedHost struct {
	Name    string         `json:"name"`
	Address string         `json:"address"`
	Groups  []string       `json:"groups,omitempty"`
	Depths  map[string]int `json:"depths,omitempty"`
	Vars    map[string]any `json:"vars,omitempty"`
}

// packed is a bundle with the places in the repository that ask for its
// objects: the document that travels has other lines.
type packed struct {
	driver.Bundle
	sources map[plan.Address]plan.Source
}

// pack makes the bundle of one host.
func (s *set) pack(ctx context.Context, name plan.Scope) (*packed, error) {
	h := s.inventory.Host(string(name))
	if h == nil {
		return nil, fmt.Errorf("host %s is not in the inventory", name)
	}
	p := &packed{Bundle: driver.Bundle{Driver: "ssh", Version: version, Environment: s.env.Name, Target: s.in.Target, Scope: name, Mode: s.in.Mode,
		Now: s.in.Now, Previously: s.in.Previously, HashKey: hostKey(s.env.HashKey, h.Name)}}
	for _, o := range s.owned[name] {
		p.Inventory = append(p.Inventory, o)
	}
	slices.SortFunc(p.Inventory, func(a, b driver.Owned) int { return a.Key.Compare(b.Key) })
	sc := *scopeOf(s.in)
	sc.Groups, sc.Hosts = nil, []string{h.Name}
	c := carried{Spec: specOf(s.in), Scope: &sc, Connect: s.connect.travelling(),
		Host: carriedHost{Name: h.Name, Address: h.Address, Groups: h.Groups, Depths: s.inventory.Depths(h), Vars: h.Vars}}
	contents := map[string][]byte{}
	if s.doc != nil && scopeOf(s.in).with(s.inventory).containsHost(h.Name) {
		if err := s.packTree(ctx, h, &c, contents); err != nil {
			return nil, err
		}
		objects, _, diags := s.doc.forHost(h, s.inventory)
		if err := diags.Err(); err != nil {
			return nil, err
		}
		p.sources = map[plan.Address]plan.Source{}
		for _, o := range objects {
			p.sources[o.Address] = o.Source
		}
	}
	for _, sum := range slices.Sorted(maps.Keys(contents)) {
		p.Content = append(p.Content, driver.Content{Sum: sum, Size: int64(len(contents[sum]))})
	}
	p.Load = func(_ context.Context, sum string) ([]byte, error) {
		b, ok := contents[sum]
		if !ok {
			return nil, fmt.Errorf("content %s is not in the bundle", sum)
		}
		return b, nil
	}
	var err error
	p.Desired, err = json.Marshal(c)
	return p, err
}

// hostKey derives a key for the hashes of one host, so that no host learns
// the key that hashes the secrets of others.
func hostKey(key []byte, host string) []byte {
	if len(key) == 0 {
		return nil
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte("agent host\x00" + host))
	return m.Sum(nil)
}

// travelling gives what a host may know of the configuration.
func (c *Connect) travelling() *Connect {
	t := *c
	t.Inventory, t.Hosts, t.Groups, t.Vars, t.User, t.Port = "", nil, nil, nil, "", 0
	t.Key, t.KeyPassphrase, t.Certificate, t.Agent, t.Password = "", "", "", "", ""
	t.KnownHosts, t.Jump, t.Sudo, t.Retired = nil, nil, nil, nil
	return &t
}

// packTree reads the document as the host will, and takes along what that
// reads, and the values that it uses.
func (s *set) packTree(ctx context.Context, h *inventory.Host, c *carried, contents map[string][]byte) error {
	whole, err := fs.ReadFile(s.in.Tree, s.doc.file)
	if err != nil {
		return err
	}
	own, err := onlyFor(h, s.doc.file, whole)
	if err != nil {
		return err
	}
	t := &tracker{FS: s.in.Tree, name: s.doc.file, body: own, seen: map[string]*memFile{}}
	in := s.in
	in.Tree, in.Path, in.Prepared, in.Scope = t, s.doc.file, nil, c.Scope
	prep, err := (sshDriver{}).Prepare(ctx, in)
	if err != nil {
		return err
	}
	doc, ok := prep.State.(*document)
	if !ok || doc.empty() {
		return nil // nothing is asked for on this host
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return driver.Permanent(err)
	}
	c.Path, c.Values = s.doc.file, map[string]plan.Output{}
	for _, name := range prep.Values {
		if v, ok := s.in.Values[name]; ok {
			c.Values[name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.seen)) {
		f := t.seen[name]
		if !f.Dir && f.Link == "" {
			b := own
			if name != s.doc.file {
				if b, err = fs.ReadFile(s.in.Tree, name); err != nil {
					return err
				}
			}
			sum := sha256.Sum256(b)
			f.Sum, f.Size = hex.EncodeToString(sum[:]), int64(len(b))
			contents[f.Sum] = b
		}
		c.Files = append(c.Files, *f)
	}
	return nil
}

// empty tells whether the document asks for nothing.
func (d *document) empty() bool {
	for _, l := range d.layers {
		if len(l.objects) > 0 {
			return false
		}
	}
	return true
}

// OpenBundle opens this very host with what a bundle says it should be.
func (sshDriver) OpenBundle(ctx context.Context, env driver.Environment, b *driver.Bundle) (driver.Session, driver.Input, error) {
	var c carried
	if err := json.Unmarshal(b.Desired, &c); err != nil {
		return nil, driver.Input{}, driver.Permanent(fmt.Errorf("the bundle can't be read: %w", err))
	}
	if c.Connect == nil || c.Host.Name != string(b.Scope) {
		return nil, driver.Input{}, driver.Permanent(errors.New("the bundle makes no sense"))
	}
	h := inventory.Host{Name: c.Host.Name, Address: c.Host.Address, Groups: c.Host.Groups, Vars: c.Host.Vars}
	env.Connect = c.Connect
	env.Secret = noSecret
	s := &session{env: env, connect: c.Connect, fixed: inventory.Only(h, c.Host.Depths), purpose: driver.Write, facts: map[string]*Facts{},
		over: func(*inventory.Host) (transport, error) { return &local{}, nil }}
	in := b.Input(nil)
	in.Spec, in.Scope, in.Values, in.Path = c.Spec, c.Scope, c.Values, c.Path
	in.Tree = newMemFS(ctx, c.Files, b.Load)
	if c.Path == "" {
		// Nothing is asked for on this host any more: what is owned goes.
		in.Prepared = &driver.Prepared{State: &document{}}
	}
	return s, in, nil
}

// Hosts lists the hosts of an environment.
func (sshDriver) Hosts(_ context.Context, env driver.Environment) ([]driver.Host, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("ssh: connect is a %T", env.Connect))
	}
	inv, err := c.inventory(env.Dir)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	var out []driver.Host
	for _, h := range inv.Hosts {
		out = append(out, driver.Host{Name: h.Name, Groups: h.Groups, Agent: h.Agent})
	}
	return out, nil
}

var (
	_ driver.Carrier    = sshDriver{}
	_ driver.HostLister = sshDriver{}
)
