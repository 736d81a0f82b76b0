package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// answerWait is how long the answer of a request is tried after the agent was
// told to stop.
const answerWait = 15 * time.Second

// work answers one request.
func (a *Agent) work(ctx context.Context, r *wire.Request, e *wire.Envelope, stop func()) {
	start := time.Now()
	out := &outbox{a: a, request: r.ID, stop: stop}
	ans, err := a.do(ctx, r, e, out)
	outcome := wire.Outcome{Error: wire.FaultOf(err)}
	if ans != nil {
		outcome.Answer = *ans
	}
	a.Log.Info("a request is answered", "op", string(r.Op), "target", r.Bundle.Target, "generation", r.Generation,
		"duration", time.Since(start).Round(time.Millisecond).String(), "error", err)
	sendCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWait)
	defer cancel()
	if err := out.answer(sendCtx, outcome); err != nil && !errors.Is(err, errGone) {
		a.Log.Warn("the answer did not reach the server", "request", r.ID, "error", err)
	}
}

// do carries out what the server asks for.
func (a *Agent) do(ctx context.Context, r *wire.Request, e *wire.Envelope, out *outbox) (*driver.Answer, error) {
	if err := a.fetch(ctx, r, out); err != nil {
		return nil, err
	}
	if r.Op == driver.AgentApply {
		return a.apply(ctx, r, e, out)
	}
	s, in, err := a.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	switch r.Op {
	case driver.AgentPlan:
		p, err := s.Plan(ctx, in)
		return &driver.Answer{Plan: p}, err
	case driver.AgentFingerprint:
		f, ok := s.(driver.Fingerprinter)
		if !ok {
			return &driver.Answer{}, nil
		}
		fp, err := f.Fingerprint(ctx, in)
		return &driver.Answer{Fingerprint: fp}, err
	case driver.AgentHealth:
		h, ok := s.(driver.HealthChecker)
		if !ok {
			return nil, driver.Permanent(fmt.Errorf("driver %s has no health checks of its own", r.Bundle.Driver))
		}
		return &driver.Answer{}, h.Health(ctx, in, r.Check)
	}
	if r.Op == driver.AgentCommand && r.Command != nil {
		return a.command(ctx, r, s, out)
	}
	return nil, driver.Permanent(fmt.Errorf("this agent does not know %q: is it older than the server?", r.Op))
}

// open makes the driver ready to work on this host.
func (a *Agent) open(ctx context.Context, r *wire.Request) (driver.Session, driver.Input, error) {
	d, err := a.Drivers.Get(r.Bundle.Driver)
	if err != nil {
		return nil, driver.Input{}, driver.Permanent(err)
	}
	c, ok := d.(driver.Carrier)
	if !ok {
		return nil, driver.Input{}, driver.Permanent(fmt.Errorf("driver %s can't work through an agent", r.Bundle.Driver))
	}
	if v := d.Info().Version; v != r.Bundle.Version {
		return nil, driver.Input{}, driver.Permanent(fmt.Errorf("the server has version %s of driver %s, this agent has %s: install the same trueup on both", r.Bundle.Version, r.Bundle.Driver, v))
	}
	if r.Bundle.Scope != plan.Scope(r.Host) {
		return nil, driver.Input{}, driver.Permanent(fmt.Errorf("the bundle is for %q", r.Bundle.Scope))
	}
	r.Bundle.Load = func(_ context.Context, s string) ([]byte, error) { return a.cache.get(s) }
	s, in, err := c.OpenBundle(ctx, driver.Environment{Name: r.Bundle.Environment, HashKey: r.Bundle.HashKey, Log: a.Log}, &r.Bundle)
	in.Log = a.Log
	return s, in, err
}

// apply carries a plan out, and keeps the state when all of it was applied.
func (a *Agent) apply(ctx context.Context, r *wire.Request, e *wire.Envelope, out *outbox) (*driver.Answer, error) {
	if r.Plan == nil {
		return nil, driver.Permanent(errors.New("an apply without a plan"))
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, in, err := a.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := a.keep.begin(r.Bundle.Target, r.Generation); err != nil {
		return nil, err
	}
	if err := s.Apply(ctx, in, r.Plan, out); err != nil {
		return nil, err
	}
	// Lines that were logged, and nothing else, may still be waiting.
	if whole(r.Plan, out.done()) {
		if r.Bundle.Mode == plan.Destroy {
			e = nil
		}
		inv := owned(r.Bundle.Inventory, r.Plan, out.done())
		if err := a.keep.finish(r.Bundle.Target, r.Generation, e, inv, time.Now().UTC()); err != nil {
			a.Log.Error("the applied state can't be kept; drift is not corrected without the server", "target", r.Bundle.Target, "error", err)
		}
		a.sweep()
	}
	return &driver.Answer{}, nil
}

// command runs a command of the operator's, once.
func (a *Agent) command(ctx context.Context, r *wire.Request, s driver.Session, out *outbox) (*driver.Answer, error) {
	c, ok := s.(driver.Commander)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("driver %s runs no commands", r.Bundle.Driver))
	}
	// A command that is handed out again must not run again.
	if err := a.keep.begin("command\x00"+r.Bundle.Environment, r.Generation); err != nil {
		return nil, err
	}
	cmd := driver.Command{Args: r.Command.Args, Dir: r.Command.Dir, Env: map[string]secret.Value{}}
	for name, v := range r.Command.Env {
		cmd.Env[name] = secret.New(v)
	}
	return &driver.Answer{}, c.Command(ctx, r.Bundle.Scope, cmd, func(line string) { out.Logf("%s", line) })
}

// whole tells whether every change was applied.
func whole(p *plan.Plan, results []plan.Result) bool {
	done := map[plan.Key]bool{}
	for _, r := range results {
		if r.Outcome != plan.Applied {
			return false
		}
		done[r.Key] = true
	}
	for i := range p.Changes {
		if p.Changes[i].Action != plan.None && !done[p.Changes[i].Key] {
			return false
		}
	}
	return true
}

// owned brings an inventory up to date, as the server does.
func owned(before []driver.Owned, p *plan.Plan, results []plan.Result) []driver.Owned {
	inv := driver.Inventory{}
	for _, o := range before {
		inv[o.Key] = o
	}
	realm := map[plan.Scope]string{}
	for _, s := range p.Scopes {
		realm[s.Scope] = s.Realm
	}
	for _, r := range results {
		if r.Outcome != plan.Applied {
			continue
		}
		if r.From != "" {
			delete(inv, plan.Key{Scope: r.Scope, Address: r.From})
		}
		if r.Action == plan.Delete || r.Action == plan.Forget {
			delete(inv, r.Key)
			continue
		}
		inv[r.Key] = driver.Owned{Key: r.Key, Kind: r.Kind, Class: r.Class, Weight: r.Weight, Realm: realm[r.Scope], Hash: r.Hash,
			LastApplied: r.LastApplied, Source: r.Source}
	}
	out := make([]driver.Owned, 0, len(inv))
	for _, o := range inv {
		out = append(out, o)
	}
	return out
}

// fetch gets the content that is not here yet.
func (a *Agent) fetch(ctx context.Context, r *wire.Request, out *outbox) error {
	var total int64
	var missing []string
	for _, c := range r.Bundle.Content {
		if !validSum(c.Sum) {
			return driver.Permanent(fmt.Errorf("content %q has no sum", c.Sum))
		}
		if total += c.Size; total > wire.MaxBundle {
			return driver.Permanent(fmt.Errorf("the bundle has more than %d bytes of content", int64(wire.MaxBundle)))
		}
		if !a.cache.has(c.Sum) {
			missing = append(missing, c.Sum)
		}
	}
	for len(missing) > 0 {
		batch := missing[:min(len(missing), wire.MaxContents)]
		if err := out.send(ctx, &wire.Message{Kind: wire.Need, Sums: batch}); err != nil {
			return fmt.Errorf("fetch content: %w", err)
		}
		missing = missing[len(batch):]
		for len(batch) > 0 {
			n, err := a.receive(ctx, r.ID, batch)
			if err != nil {
				return fmt.Errorf("fetch content: %w", err)
			}
			batch = batch[n:]
		}
	}
	return nil
}

// receive keeps as much as the server sends at once.
func (a *Agent) receive(ctx context.Context, request string, sums []string) (int, error) {
	n := 0
	err := a.client.call(ctx, wire.PathContent, wire.ContentAsk{Request: request, Sums: sums}, func(body io.Reader) error {
		for n < len(sums) {
			var head [8]byte
			_, err := io.ReadFull(body, head[:])
			if errors.Is(err, io.EOF) && n > 0 {
				return nil
			}
			if err != nil {
				return err
			}
			size := binary.BigEndian.Uint64(head[:])
			if size > wire.MaxContent {
				return fmt.Errorf("content of %d bytes is too large", size)
			}
			b := make([]byte, size)
			if _, err := io.ReadFull(body, b); err != nil {
				return err
			}
			if err := a.cache.put(sums[n], b); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// sweep removes content that nothing kept needs.
func (a *Agent) sweep() {
	need := map[string]bool{}
	id := a.client.identity()
	for _, k := range a.keep.list() {
		r, err := k.Envelope.Open(id.ServerKey, id.Host)
		if err != nil {
			continue
		}
		for _, c := range r.Bundle.Content {
			need[c.Sum] = true
		}
	}
	if err := a.cache.sweep(need, time.Now().Add(-time.Hour)); err != nil {
		a.Log.Warn("old content is left behind", "error", err)
	}
}
