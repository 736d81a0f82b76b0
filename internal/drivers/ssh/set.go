package ssh

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// set is one plan or apply over the target's hosts. It gives setplan what it
// asks for.
type set struct {
	*session
	in        driver.Input
	inventory *inventory.Inventory
	doc       *document // nil when everything is to go
	owned     map[plan.Scope]map[plan.Address]driver.Owned
	// keys limits an apply to what its plan touches; nil is everything.
	keys map[plan.Scope]map[plan.Address]bool

	hosts map[plan.Scope]*host
	read  []scope
	want  []item
	docs  sync.Map // *object to shown document
	warn  plan.Diagnostics
}

func (s *session) newSet(ctx context.Context, in driver.Input) (*set, error) {
	inv, err := s.refresh()
	if err != nil {
		return nil, err
	}
	st := &set{session: s, inventory: inv, in: in, owned: map[plan.Scope]map[plan.Address]driver.Owned{}, hosts: map[plan.Scope]*host{}}
	for k, o := range in.Inventory {
		if st.owned[k.Scope] == nil {
			st.owned[k.Scope] = map[plan.Address]driver.Owned{}
		}
		st.owned[k.Scope][k.Address] = o
	}
	if in.Mode == plan.Destroy {
		return st, nil
	}
	prep := in.Prepared
	if prep == nil || prep.State == nil {
		if prep, err = (sshDriver{}).Prepare(ctx, in); err != nil {
			return nil, err
		}
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	doc, ok := prep.State.(*document)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("ssh: prepared state is a %T", prep.State))
	}
	st.doc = doc
	st.warn = append(prep.Diagnostics.Warnings(), doc.unknownParts(inv)...)
	return st, nil
}

// scopes lists the hosts that concern the target: those in its scope, and
// those where it owns something.
func (s *set) scopes() []plan.Scope {
	var out []plan.Scope
	if s.keys != nil {
		for name := range s.keys {
			out = append(out, name)
		}
		slices.Sort(out)
		return out
	}
	in := scopeOf(s.in).with(s.inventory)
	seen := map[plan.Scope]bool{}
	if s.in.Mode != plan.Destroy {
		for _, h := range s.inventory.Hosts {
			if in.containsHost(h.Name) {
				seen[plan.Scope(h.Name)] = true
				out = append(out, plan.Scope(h.Name))
			}
		}
	}
	for name := range s.owned {
		if !seen[name] {
			out = append(out, name)
		}
	}
	return slices.DeleteFunc(out, func(name plan.Scope) bool { return !s.in.Covers(name) })
}

// gather reads all hosts but those that call in, several at a time. A host that can't be read is an
// unknown scope; a mistake in the desired state ends it all.
func (s *set) gather(ctx context.Context, texts bool, except ...plan.Scope) error {
	names := slices.DeleteFunc(s.scopes(), func(n plan.Scope) bool { return slices.Contains(except, n) })
	if len(names)+len(except) == 0 {
		return driver.Permanent(errors.New("the target's scope holds no host of this environment"))
	}
	type result struct {
		scope scope
		want  []item
		host  *host
		err   error
	}
	results := make([]result, len(names))
	slots := make(chan struct{}, s.connect.concurrency())
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				results[i].err = ctx.Err()
				return
			}
			r := &results[i]
			r.scope.Name = name
			r.host, r.want, r.err = s.gatherHost(ctx, &r.scope, texts)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	var found plan.Diagnostics
	for i := range results {
		r := &results[i]
		var mistakes plan.Diagnostics
		switch {
		case errors.As(r.err, &mistakes):
			found = merge(found, mistakes)
		case r.err != nil:
			r.scope.Err, r.scope.Items = r.err, nil
		}
		s.read = append(s.read, r.scope)
		s.want = append(s.want, r.want...)
		if r.host != nil {
			s.hosts[r.scope.Name] = r.host
		}
	}
	if err := found.Err(); err != nil {
		return driver.Permanent(err)
	}
	s.twins()
	return nil
}

// merge adds findings that are not there yet: fifty hosts have one mistake.
func merge(to, more plan.Diagnostics) plan.Diagnostics {
	for _, d := range more {
		if !slices.ContainsFunc(to, func(x plan.Diagnostic) bool { return x.Source == d.Source && x.Field == d.Field }) {
			to = append(to, d)
		}
	}
	return to
}

// twins finds two names for one host.
func (s *set) twins() {
	first := map[string]plan.Scope{}
	for i := range s.read {
		r := &s.read[i]
		h := s.hosts[r.Name]
		if r.Err != nil || h == nil || h.facts == nil {
			continue
		}
		who := r.Realm + " " + h.facts.Hostname
		if other, ok := first[who]; ok {
			r.Err, r.Items = fmt.Errorf("it is the same host as %s: give one of the names up", other), nil
			continue
		}
		first[who] = r.Name
	}
}

func (s *set) gatherHost(ctx context.Context, sc *scope, texts bool) (*host, []item, error) {
	ih := s.inventory.Host(string(sc.Name))
	if ih == nil {
		if matchAny(s.connect.Retired, string(sc.Name)) {
			return nil, nil, nil // gone for good: what is owned there is given up
		}
		return nil, nil, fmt.Errorf("the host is no longer in the inventory: put it back, or list it under retired in connect to give up what the target owns there")
	}
	h, err := s.newHost(ctx, ih)
	if err != nil {
		return nil, nil, err
	}
	owned := s.owned[sc.Name]
	if err := s.wants(ctx, h, owned); err != nil {
		return h, nil, err
	}
	subs := subjects(h.wants, owned, s.keys[sc.Name])
	found, err := h.observe(ctx, subs, s.keys == nil)
	if err != nil {
		return h, s.items(sc.Name, h.wants), err
	}
	s.remember(h)
	sc.Realm = h.realm()
	if texts {
		if err := h.texts(ctx, subs, found); err != nil {
			return h, s.items(sc.Name, h.wants), err
		}
	}
	s.settle(h, subs, found)
	sc.Items, sc.Unmanaged = s.items(sc.Name, found), strangers(h.answer, subs)
	return h, s.items(sc.Name, h.wants), nil
}

// wants works out what is desired on a host.
func (s *set) wants(ctx context.Context, h *host, owned map[plan.Address]driver.Owned) error {
	if s.doc == nil {
		return nil
	}
	if !scopeOf(s.in).with(s.inventory).containsHost(h.Name) {
		return nil // it was in the target's scope before
	}
	if s.doc.needsFacts && h.facts == nil {
		a, err := newProbe().run(ctx, h.t)
		if err != nil {
			return err
		}
		h.facts = a.facts
		s.remember(h)
	}
	if err := h.want(s.doc, s.inventory); err != nil {
		return err
	}
	h.leaving(owned)
	return nil
}

func (s *set) items(name plan.Scope, objects []*object) []item {
	out := make([]item, len(objects))
	for i, o := range objects {
		out[i] = item{Key: plan.Key{Scope: name, Address: o.Address}, Kind: o.Kind, Hash: s.hash(o), Class: classOf(o.Kind), Source: o.Source,
			TakeOver: o.TakeOver, Value: o}
	}
	return out
}

func classOf(kind string) string {
	if k := kindOf(kind); k != nil {
		return k.info().class
	}
	return "file"
}

// hash stands for all that the target decides about an object.
func (s *set) hash(o *object) string {
	h := sha256.New()
	if len(s.env.HashKey) > 0 {
		h = hmac.New(sha256.New, s.env.HashKey)
	}
	fmt.Fprintf(h, "%q %q %s", o.Address, o.Kind, o.State.ident())
	return hex.EncodeToString(h.Sum(nil))
}

// Desired gives what the hosts should be. The hosts are read along the way.
func (s *set) Desired(ctx context.Context, _ driver.Input) ([]item, error) {
	if s.read == nil {
		if err := s.gather(ctx, false); err != nil {
			return nil, err
		}
	}
	return s.want, nil
}

// Observed gives what the hosts are.
func (s *set) Observed(ctx context.Context, in driver.Input, _ []plan.Key) ([]scope, error) {
	_, err := s.Desired(ctx, in)
	return s.read, err
}

// Put writes one object.
func (s *set) Put(ctx context.Context, it, old item) error {
	st := step{New: &it, Change: plan.Change{Key: it.Key, Kind: it.Kind, Action: plan.Create}}
	if old.Value != nil {
		st.Old, st.Change.Action = &old, plan.Update
	}
	return s.Write(ctx, []step{st})[0]
}

// Remove removes one object.
func (s *set) Remove(ctx context.Context, old item) error {
	return s.Write(ctx, []step{{Old: &old, Change: plan.Change{Key: old.Key, Kind: old.Kind, Action: plan.Delete}}})[0]
}

// Concurrency says how many hosts are written at a time.
func (s *set) Concurrency() int { return s.connect.concurrency() }

type shown struct {
	doc       json.RawMessage
	sensitive []string
	err       error
}

// Show gives an object as a document. One that many hosts share is made once.
func (s *set) Show(it item) (json.RawMessage, []string, error) {
	if v, ok := s.docs.Load(it.Value); ok {
		d := v.(shown)
		return d.doc, d.sensitive, d.err
	}
	doc, sensitive := it.Value.State.show()
	d := shown{sensitive: sensitive}
	d.doc, d.err = json.Marshal(doc)
	s.docs.Store(it.Value, d)
	return d.doc, d.sensitive, d.err
}

// Keep gives the document that the inventory remembers.
func (s *set) Keep(it item) (json.RawMessage, []string, error) {
	k, ok := it.Value.State.(keeper)
	if !ok {
		return s.Show(it)
	}
	doc, sensitive := k.keep()
	if p, ok := it.Value.State.(*pathState); ok && p.Size >= bigFile {
		doc = s.withStamp(it, p)
	}
	raw, err := json.Marshal(doc)
	return raw, sensitive, err
}

var (
	_ setplan.Batcher[*object] = (*set)(nil)
	_ setplan.Shower[*object]  = (*set)(nil)
	_ setplan.Keeper[*object]  = (*set)(nil)
	_ setplan.Concurrent       = (*set)(nil)
)

// newHost makes the host of a plan or apply.
func (s *set) newHost(_ context.Context, ih *inventory.Host) (*host, error) {
	t, err := s.transport(ih)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &host{Host: ih, t: t, in: s.in, spec: specOf(s.in), facts: s.facts[ih.Name], commands: s.connect.Commands,
		reboot: s.connect.Reboot, compose: s.connect.Compose, artefacts: s.connect.Artefacts}, nil
}
