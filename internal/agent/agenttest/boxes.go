// Package agenttest has a driver for the tests of agents: an environment of
// hosts, each a directory with files, that only agents can reach.
package agenttest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// Boxes is the driver. On a host, Root is the directory that is the host; on
// the server it is empty.
type Boxes struct {
	Root string
	// Before is called on the host before each write; nil does nothing.
	Before func(ctx context.Context, name string) error
}

// Connect lists the hosts.
type Connect struct {
	Hosts []string `yaml:"hosts"`
}

// Scope is everything.
type Scope struct{}

// Contains is always true.
func (*Scope) Contains(plan.Key, string) bool { return true }

// Info describes the driver.
func (b *Boxes) Info() driver.Info {
	return driver.Info{Name: "boxes", Version: "1", Summary: "directories behind agents", Spec: func() any { return &struct{}{} },
		Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} }, StopGrace: 5 * time.Second}
}

// Hosts lists the hosts.
func (b *Boxes) Hosts(_ context.Context, env driver.Environment) ([]driver.Host, error) {
	var out []driver.Host
	for _, h := range env.Connect.(*Connect).Hosts {
		out = append(out, driver.Host{Name: h, Groups: []string{"all"}, Agent: true})
	}
	return out, nil
}

// wanted is the desired state by host and file: HOST/FILE in the snapshot.
type wanted map[string]map[string]string

func read(in driver.Input) (wanted, error) {
	w := wanted{}
	err := fs.WalkDir(in.Tree, in.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(in.Tree, p)
		rel, _ := filepath.Rel(in.Path, p)
		host, name := filepath.Split(rel)
		host = filepath.Clean(host)
		if w[host] == nil {
			w[host] = map[string]string{}
		}
		w[host][name] = string(b)
		return err
	})
	return w, err
}

// Prepare reads the snapshot.
func (b *Boxes) Prepare(_ context.Context, in driver.Input) (*driver.Prepared, error) {
	w, err := read(in)
	if err != nil {
		return nil, err
	}
	p := &driver.Prepared{State: w}
	for host, files := range w {
		for name := range files {
			p.Desired = append(p.Desired, driver.Desired{Key: plan.Key{Scope: plan.Scope(host), Address: plan.Address(name)}, Kind: "file"})
		}
	}
	return p, nil
}

// Open gives a session that asks agents.
func (b *Boxes) Open(_ context.Context, env driver.Environment, _ driver.Purpose) (driver.Session, error) {
	return &far{b: b, env: env}, nil
}

// OpenBundle gives a session on the very host.
func (b *Boxes) OpenBundle(ctx context.Context, _ driver.Environment, bd *driver.Bundle) (driver.Session, driver.Input, error) {
	sums := map[string]string{}
	if err := json.Unmarshal(bd.Desired, &sums); err != nil {
		return nil, driver.Input{}, err
	}
	files := map[string]string{}
	for name, sum := range sums {
		body, err := bd.Load(ctx, sum)
		if err != nil {
			return nil, driver.Input{}, err
		}
		files[name] = string(body)
	}
	return &near{b: b}, bd.Input(&driver.Prepared{State: wanted{string(bd.Scope): files}}), nil
}

// far is a session on the server.
type far struct {
	b   *Boxes
	env driver.Environment
}

// Close does nothing.
func (*far) Close() error { return nil }

// Pack makes a host's bundle.
func Pack(in driver.Input, environment, host string) (driver.Bundle, error) {
	w, err := read(in)
	if err != nil {
		return driver.Bundle{}, err
	}
	bd := driver.Bundle{Driver: "boxes", Version: "1", Environment: environment, Target: in.Target, Scope: plan.Scope(host), Mode: in.Mode, Now: in.Now, Previously: in.Previously}
	sums, bodies := map[string]string{}, map[string][]byte{}
	for name, body := range w[host] {
		h := sha256.Sum256([]byte(body))
		s := hex.EncodeToString(h[:])
		if _, have := bodies[s]; !have {
			bd.Content = append(bd.Content, driver.Content{Sum: s, Size: int64(len(body))})
		}
		sums[name], bodies[s] = s, []byte(body)
	}
	bd.Desired, err = json.Marshal(sums)
	bd.Load = func(_ context.Context, sum string) ([]byte, error) { return bodies[sum], nil }
	for k, o := range in.Inventory {
		if k.Scope == bd.Scope {
			bd.Inventory = append(bd.Inventory, o)
		}
	}
	return bd, err
}

// Plan asks the agent of every host at once.
func (f *far) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	out := &plan.Plan{Target: in.Target, Driver: "boxes", Version: "1", Mode: in.Mode}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, host := range f.env.Connect.(*Connect).Hosts {
		wg.Go(func() {
			bd, err := Pack(in, f.env.Name, host)
			var a *driver.Answer
			if err == nil {
				a, err = f.env.Agents.Ask(ctx, host, driver.Ask{Op: driver.AgentPlan, Bundle: bd}, nil)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Scopes = append(out.Scopes, plan.ScopePlan{Scope: plan.Scope(host), Unknown: err.Error()})
				return
			}
			out.Scopes = append(out.Scopes, a.Plan.Scopes...)
			out.Changes = append(out.Changes, a.Plan.Changes...)
		})
	}
	wg.Wait()
	slices.SortFunc(out.Scopes, func(a, b plan.ScopePlan) int { return cmp.Compare(a.Scope, b.Scope) })
	slices.SortStableFunc(out.Changes, func(a, b plan.Change) int { return cmp.Compare(a.Scope, b.Scope) })
	return out, nil
}

// Apply asks the agents of the hosts that change, at once.
func (f *far) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	errs := make([]error, len(p.Scopes))
	var wg sync.WaitGroup
	for i, s := range p.Scopes {
		part := *p
		part.Scopes, part.Changes = []plan.ScopePlan{s}, nil
		for _, c := range p.Changes {
			if c.Scope == s.Scope {
				part.Changes = append(part.Changes, c)
			}
		}
		if len(part.Changes) == 0 {
			continue
		}
		wg.Go(func() {
			bd, err := Pack(in, f.env.Name, string(s.Scope))
			if err == nil {
				_, err = f.env.Agents.Ask(ctx, string(s.Scope), driver.Ask{Op: driver.AgentApply, Bundle: bd, Plan: &part}, report)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// near is a session on the host.
type near struct{ b *Boxes }

// Close does nothing.
func (*near) Close() error { return nil }

// Plan compares.
func (n *near) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	p, err := setplan.Plan(ctx, in, &box{b: n.b, in: in})
	if p != nil {
		p.Driver, p.Version = "boxes", "1"
	}
	return p, err
}

// Apply writes.
func (n *near) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	return setplan.Apply(ctx, in, p, &box{b: n.b, in: in}, report)
}

// box is one host's directory as a set.
type box struct {
	b  *Boxes
	in driver.Input
}

type boxItem = setplan.Item[string]

func (s *box) want() (host string, files map[string]string) {
	for h, f := range s.in.Prepared.State.(wanted) {
		return h, f
	}
	return "", nil
}

func (s *box) item(host, name, body string) boxItem {
	h := sha256.Sum256([]byte(body))
	return boxItem{Key: plan.Key{Scope: plan.Scope(host), Address: plan.Address(name)}, Kind: "file", Class: "file", Value: body, Hash: hex.EncodeToString(h[:])}
}

// Desired gives the bundle's files.
func (s *box) Desired(context.Context, driver.Input) ([]boxItem, error) {
	host, files := s.want()
	var out []boxItem
	for name, body := range files {
		out = append(out, s.item(host, name, body))
	}
	return out, nil
}

// Observed reads the directory.
func (s *box) Observed(context.Context, driver.Input, []plan.Key) ([]setplan.Scope[string], error) {
	host, _ := s.want()
	sc := setplan.Scope[string]{Name: plan.Scope(host), Realm: "box:" + host}
	list, err := os.ReadDir(s.b.Root)
	if err != nil {
		sc.Err = err
		return []setplan.Scope[string]{sc}, nil
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(s.b.Root, e.Name()))
		if err != nil {
			sc.Err = err
			break
		}
		sc.Items = append(sc.Items, s.item(host, e.Name(), string(b)))
	}
	return []setplan.Scope[string]{sc}, nil
}

// Put writes a file.
func (s *box) Put(ctx context.Context, it, _ boxItem) error {
	if s.b.Before != nil {
		if err := s.b.Before(ctx, string(it.Address)); err != nil {
			return err
		}
	}
	path := filepath.Join(s.b.Root, string(it.Address))
	if err := os.WriteFile(path+".new", []byte(it.Value), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Remove removes a file.
func (s *box) Remove(_ context.Context, old boxItem) error {
	err := os.Remove(filepath.Join(s.b.Root, string(old.Address)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
