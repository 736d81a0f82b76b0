package mailbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

const (
	// lookAgain is how long a lost ring is slept over.
	lookAgain = time.Second
	// pollAgain is the same for polls, of which there are many.
	pollAgain = 5 * time.Second
	// stopWait is how long an agent has for the end of a cancelled apply.
	stopWait = 20 * time.Second
	// endWait bounds the writing down of what is over.
	endWait = 10 * time.Second
)

// Ask has a host's agent do something.
func (o *Office) Ask(ctx context.Context, host string, ask driver.Ask, report driver.Report) (*driver.Answer, error) {
	if ask.Bundle.Scope != plan.Scope(host) {
		return nil, driver.Permanent(fmt.Errorf("a bundle of scope %q can't go to host %q", ask.Bundle.Scope, host))
	}
	if err := o.present(ctx, host); err != nil {
		return nil, err
	}
	gen, err := o.Store.NextGeneration(ctx, host)
	if err != nil {
		return nil, unreachable(host, err)
	}
	r := &wire.Request{ID: rand.Text(), Host: host, Generation: gen, Issued: o.Clock(), Ask: ask}
	env, err := wire.Seal(o.key, r)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	if len(env.Payload) > wire.MaxRequest {
		return nil, driver.Permanent(fmt.Errorf("the bundle for %s has %d bytes without its content, an agent takes %d", host, len(env.Payload), wire.MaxRequest))
	}
	body, err := wire.Pack(env)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	bell, stop := o.Store.Bell(store.TopicRun(r.ID))
	defer stop()
	if err := o.Store.PutRequest(ctx, store.AgentRequest{ID: r.ID, Host: host, Generation: gen, Body: body, Life: wire.Life}); err != nil {
		return nil, err
	}
	defer func() {
		endCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWait)
		defer cancel()
		if err := o.Store.EndRequest(endCtx, r.ID); err != nil {
			o.Log.Warn("a request to an agent was not dropped; it ends by time", "host", host, "request", r.ID, "error", err)
		}
	}()
	f := &follower{o: o, r: r, report: report, bell: bell}
	return f.follow(ctx)
}

// present says why a host's agent can't be asked, nil when it can.
func (o *Office) present(ctx context.Context, host string) error {
	a, err := o.Store.Agent(ctx, host)
	if err != nil {
		return unreachable(host, err)
	}
	now := o.Clock()
	switch {
	case a.State != store.AgentActive:
		return fmt.Errorf("the agent of %s is revoked: %w", host, driver.ErrUnreachable)
	case !a.ExpiresAt.After(now):
		return fmt.Errorf("the identity of the agent of %s ended at %s, enrol it anew: %w", host, a.ExpiresAt.Format(time.RFC3339), driver.ErrUnreachable)
	case a.SeenAt.IsZero():
		return fmt.Errorf("the agent of %s is enrolled but has not called yet: %w", host, driver.ErrUnreachable)
	case now.Sub(a.SeenAt) > wire.Silence:
		return fmt.Errorf("the agent of %s called last at %s: %w", host, a.SeenAt.Format(time.RFC3339), driver.ErrUnreachable)
	}
	return nil
}

func unreachable(host string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("host %s has no agent that may call (see `trueup agent list`): %w", host, driver.ErrUnreachable)
	}
	return err
}

// follower looks after one request until it is answered.
type follower struct {
	o       *Office
	r       *wire.Request
	report  driver.Report
	bell    <-chan struct{}
	seq     int64
	parts   []byte
	outcome *wire.Outcome
	refused error // what the journal said no with
	stopped time.Time
}

func (f *follower) follow(ctx context.Context) (*driver.Answer, error) {
	for {
		over := ctx.Err() != nil
		if over && f.stopped.IsZero() {
			f.stopped = f.o.Clock()
		}
		p, err := f.look(ctx, over)
		if err != nil {
			return nil, f.with(err)
		}
		for _, m := range p.Messages {
			if err := f.take(ctx, m); err != nil {
				return nil, f.with(err)
			}
		}
		if f.outcome != nil {
			if f.outcome.Error != nil {
				return nil, f.with(f.outcome.Error.Err(f.r.Host))
			}
			return &f.outcome.Answer, f.with(nil)
		}
		if err := f.hopeless(ctx, p); err != nil {
			return nil, f.with(err)
		}
		f.wait(ctx, over)
	}
}

// with joins what the journal said with what came of it.
func (f *follower) with(err error) error { return errors.Join(f.refused, err) }

func (f *follower) look(ctx context.Context, cancel bool) (store.AgentProgress, error) {
	lookCtx, done := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer done()
	p, err := f.o.Store.Follow(lookCtx, f.r.ID, store.AgentFollow{After: f.seq, Life: wire.Life, Cancel: cancel})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("the agent of %s was revoked or enrolled anew: %w", f.r.Host, driver.ErrUnreachable)
	}
	return p, err
}

// hopeless says why no answer will come, nil while one may.
func (f *follower) hopeless(ctx context.Context, p store.AgentProgress) error {
	quiet := p.Now.Sub(p.SeenAt)
	switch {
	case p.State == store.AskLost:
		return fmt.Errorf("the agent of %s ended in the middle of it: %w", f.r.Host, driver.ErrUnreachable)
	case p.State == store.AskWaiting && quiet > wire.Fetch:
		return fmt.Errorf("the agent of %s does not fetch its request; it called last %s ago: %w", f.r.Host, quiet.Round(time.Second), driver.ErrUnreachable)
	case quiet > wire.Silence:
		return fmt.Errorf("the agent of %s has been silent for %s: %w", f.r.Host, quiet.Round(time.Second), driver.ErrUnreachable)
	case f.stopped.IsZero():
		return nil
	case f.seq == 0 || f.o.Clock().Sub(f.stopped) > stopWait:
		// It was not begun, or does not stop; its messages are refused from here on.
		return context.Cause(ctx)
	}
	return nil
}

func (f *follower) wait(ctx context.Context, over bool) {
	done := ctx.Done()
	if over {
		done = nil
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-f.bell:
	case <-timer.C:
	case <-done:
	}
}

// take handles one message and answers it. The error ends the request.
func (f *follower) take(ctx context.Context, m store.AgentMessage) error {
	f.seq = m.Seq
	refusal := ""
	if err := f.handle(ctx, m.Body); err != nil {
		f.refused = errors.Join(f.refused, err)
		refusal = err.Error()
	}
	ackCtx, done := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer done()
	return f.o.Store.Ack(ackCtx, f.r.ID, m.Seq, refusal)
}

func (f *follower) handle(ctx context.Context, body []byte) error {
	var m wire.Message
	if err := wire.Unpack(body, wire.MaxAnswer, &m); err != nil {
		return fmt.Errorf("the agent of %s sent what can't be read: %w", f.r.Host, err)
	}
	if err := f.ownKeys(&m); err != nil {
		return err
	}
	switch m.Kind {
	case wire.Pending, wire.Done:
		return f.journal(ctx, &m)
	case wire.Log:
		if f.report != nil {
			for _, line := range m.Lines {
				f.report.Logf("%s: %s", f.r.Host, line)
			}
		}
		return nil
	case wire.Need:
		return f.load(ctx, m.Sums)
	case wire.Part:
		return f.part(&m)
	}
	return fmt.Errorf("the agent of %s sent a message of kind %q", f.r.Host, m.Kind)
}

// ownKeys refuses answers about anything but the host itself.
func (f *follower) ownKeys(m *wire.Message) error {
	for _, k := range m.Keys {
		if k.Scope != plan.Scope(f.r.Host) {
			return fmt.Errorf("the agent of %s answers for %s", f.r.Host, k)
		}
	}
	for i := range m.Results {
		if m.Results[i].Scope != plan.Scope(f.r.Host) {
			return fmt.Errorf("the agent of %s answers for %s", f.r.Host, m.Results[i].Key)
		}
	}
	return nil
}

func (f *follower) journal(ctx context.Context, m *wire.Message) error {
	if f.r.Op != driver.AgentApply || f.report == nil {
		return fmt.Errorf("the agent of %s writes although it was asked to %s", f.r.Host, f.r.Op)
	}
	if m.Kind == wire.Pending {
		return f.report.Pending(ctx, m.Keys)
	}
	// What was done is written down also when the run is being cancelled.
	doneCtx, done := context.WithTimeout(context.WithoutCancel(ctx), endWait)
	defer done()
	return f.report.Done(doneCtx, m.Results)
}

// load puts content before the agent: of this bundle only.
func (f *follower) load(ctx context.Context, sums []string) error {
	named := map[string]bool{}
	for _, c := range f.r.Bundle.Content {
		named[c.Sum] = true
	}
	for _, sum := range sums {
		if !named[sum] || f.r.Bundle.Load == nil {
			return fmt.Errorf("the agent of %s asks for content that is not in its bundle", f.r.Host)
		}
		body, err := f.r.Bundle.Load(ctx, sum)
		if err != nil {
			return fmt.Errorf("content for %s: %w", f.r.Host, err)
		}
		if len(body) > wire.MaxContent {
			return driver.Permanent(fmt.Errorf("a file for %s has %d bytes, an agent takes %d", f.r.Host, len(body), wire.MaxContent))
		}
		if err := f.o.Store.PutAgentBlob(ctx, f.r.ID, sum, body); err != nil {
			return err
		}
	}
	return nil
}

// part collects the answer; the last part ends the request.
func (f *follower) part(m *wire.Message) error {
	if len(f.parts)+len(m.Part) > wire.MaxAnswer {
		return fmt.Errorf("the answer of the agent of %s has more than %d bytes", f.r.Host, wire.MaxAnswer)
	}
	f.parts = append(f.parts, m.Part...)
	if !m.Last {
		return nil
	}
	var out wire.Outcome
	if err := wire.Unpack(f.parts, wire.MaxAnswer, &out); err != nil {
		return fmt.Errorf("the answer of the agent of %s can't be read: %w", f.r.Host, err)
	}
	if err := f.fits(&out); err != nil {
		return err
	}
	f.outcome = &out
	return nil
}

// fits refuses an answer that speaks for others.
func (f *follower) fits(out *wire.Outcome) error {
	host := plan.Scope(f.r.Host)
	if p := out.Plan; p != nil {
		if p.Target != f.r.Bundle.Target || p.Mode != f.r.Bundle.Mode {
			return fmt.Errorf("the agent of %s planned for target %q to %s", f.r.Host, p.Target, p.Mode)
		}
		for i := range p.Scopes {
			if p.Scopes[i].Scope != host {
				return fmt.Errorf("the agent of %s planned scope %q", f.r.Host, p.Scopes[i].Scope)
			}
		}
		for i := range p.Changes {
			if p.Changes[i].Scope != host {
				return fmt.Errorf("the agent of %s planned %s", f.r.Host, p.Changes[i].Key)
			}
		}
	}
	for scope := range out.Fingerprint {
		if scope != host {
			return fmt.Errorf("the agent of %s gave a fingerprint of scope %q", f.r.Host, scope)
		}
	}
	return nil
}
