package mailbox

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// enrol takes an agent in that has a token.
func (o *Office) enrol(r *http.Request) (any, error) {
	b, err := body(r, wire.MaxSmall)
	if err != nil {
		return nil, err
	}
	var q wire.Enrol
	if err := decode(b, &q); err != nil {
		return nil, err
	}
	no := refusal{http.StatusForbidden, "the token is not valid for this host: it was used, its time is over, or it names another host"}
	hash := wire.TokenHash(q.Token)
	if !hostName.MatchString(q.Host) || !wire.Proven(q.PublicKey, q.Host, hash, q.Proof) {
		return nil, no
	}
	now := o.Clock()
	a, err := o.Store.Enrol(r.Context(), hash, store.Agent{Host: q.Host, PublicKey: base64.StdEncoding.EncodeToString(q.PublicKey), ExpiresAt: now.Add(o.Validity)})
	if errors.Is(err, store.ErrNotFound) {
		return nil, no
	}
	if err != nil {
		return nil, err
	}
	if err := o.event(r.Context(), store.Actor("agent:"+a.Host), "agent.enrolled", map[string]any{"host": a.Host, "address": address(r), "by": a.EnrolledBy}); err != nil {
		return nil, err
	}
	return wire.Enrolled{Host: a.Host, ServerKey: o.serverKey(), Expires: a.ExpiresAt, Now: now}, nil
}

func (o *Office) serverKey() []byte { return o.key[32:] }

// renew replaces the key of the caller.
func (o *Office) renew(ctx context.Context, c call) (any, error) {
	var q wire.Renew
	if err := decode(c.body, &q); err != nil {
		return nil, err
	}
	if !wire.Proven(q.PublicKey, c.agent.Host, "renew", q.Proof) {
		return nil, errBad
	}
	now := o.Clock()
	until := now.Add(o.Validity)
	err := o.Store.RenewAgent(ctx, c.agent.Host, c.agent.PublicKey, base64.StdEncoding.EncodeToString(q.PublicKey), until)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errRevoked
	}
	if err != nil {
		return nil, err
	}
	err = o.event(ctx, store.Actor("agent:"+c.agent.Host), "agent.renewed", map[string]any{"host": c.agent.Host, "until": until})
	return wire.Enrolled{Host: c.agent.Host, ServerKey: o.serverKey(), Expires: until, Now: now}, err
}

// poll waits for a request, or for one that is to be stopped.
func (o *Office) poll(ctx context.Context, c call) (any, error) {
	var q wire.Poll
	if err := decode(c.body, &q); err != nil {
		return nil, err
	}
	out := wire.Polled{Expires: c.agent.ExpiresAt}
	var err error
	if out.Alone, err = o.aloneFor(ctx, c.agent.Host, q.Kept); err != nil {
		return nil, err
	}
	bell, stop := o.Store.Bell(store.TopicHost(c.agent.Host))
	defer stop()
	wait := min(max(time.Duration(q.Wait)*time.Millisecond, 0), wire.MaxWait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	look := time.NewTicker(pollAgain)
	defer look.Stop()
	for {
		if err := o.toDo(ctx, c, &q, &out); err != nil {
			return nil, err
		}
		if out.Request != nil || len(out.Stop) > 0 {
			break
		}
		select {
		case <-bell:
			continue
		case <-look.C:
			continue
		case <-timer.C:
		case <-ctx.Done():
		}
		break
	}
	out.Now = o.Clock()
	return out, nil
}

func (o *Office) toDo(ctx context.Context, c call, q *wire.Poll, out *wire.Polled) error {
	for _, id := range q.Working {
		state, err := o.Store.RequestState(ctx, c.agent.Host, id)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && state != store.AskTaken:
			out.Stop = append(out.Stop, id)
		case err != nil:
			return err
		}
	}
	if q.Full {
		return nil
	}
	r, err := o.Store.TakeRequest(ctx, c.agent.Host, c.boot, q.Working)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	out.Request = &wire.Envelope{}
	return wire.Unpack(r.Body, 2*wire.MaxRequest, out.Request)
}

// maxKept bounds the targets that one host may serve.
const maxKept = 1000

// aloneFor says what may be done about the targets that an agent keeps.
func (o *Office) aloneFor(ctx context.Context, host string, kept []string) (map[string]wire.Alone, error) {
	if len(kept) > maxKept {
		return nil, errBad
	}
	out := map[string]wire.Alone{}
	for _, target := range kept {
		a, err := o.Alone(ctx, host, target)
		if err != nil {
			return nil, err
		}
		out[target] = a
	}
	return out, nil
}

// content gives the content asked for, as much as fits: a length of eight
// bytes before each.
func (o *Office) content(ctx context.Context, c call) (any, error) {
	var q wire.ContentAsk
	if err := decode(c.body, &q); err != nil {
		return nil, err
	}
	if len(q.Sums) > wire.MaxContents {
		return nil, errBad
	}
	out := []byte{}
	for i, sum := range q.Sums {
		b, err := o.Store.AgentBlob(ctx, c.agent.Host, q.Request, sum)
		if errors.Is(err, store.ErrNotFound) {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		if i > 0 && len(out)+len(b) > wire.MaxContent {
			break
		}
		out = append(binary.BigEndian.AppendUint64(out, uint64(len(b))), b...)
	}
	return out, nil
}

// message brings a message to the run and waits for what it says.
func (o *Office) message(ctx context.Context, c call) (any, error) {
	var q wire.MessageCall
	if err := decode(c.body, &q); err != nil {
		return nil, err
	}
	bell, stop := o.Store.Bell(store.TopicAck(q.Request))
	defer stop()
	timer := time.NewTimer(wire.MaxAckWait)
	defer timer.Stop()
	for {
		ack, err := o.Store.AddMessage(ctx, c.agent.Host, q.Request, store.AgentMessage{Seq: q.Seq, Body: q.Message})
		if errors.Is(err, store.ErrNotFound) {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		out := wire.MessageAnswer{Acked: ack.Acked, Refusal: ack.Refusal, Stop: ack.State != store.AskTaken}
		if ack.Acked {
			return out, nil
		}
		look := time.NewTimer(lookAgain)
		select {
		case <-bell:
		case <-look.C:
		case <-timer.C:
			return out, nil
		case <-ctx.Done():
			return out, nil
		}
		look.Stop()
	}
}

// drift keeps what an agent did alone, and asks for a run that records it.
func (o *Office) drift(ctx context.Context, c call) (any, error) {
	var q wire.Drift
	if err := decode(c.body, &q); err != nil {
		return nil, err
	}
	for i := range q.Results {
		if q.Results[i].Scope != plan.Scope(c.agent.Host) {
			return nil, errBad
		}
	}
	if q.ID == "" || len(q.ID) > 64 || q.Target == "" {
		return nil, errBad
	}
	q.Host, q.ID = c.agent.Host, c.agent.Host+"/"+q.ID
	// The agent's clock is not believed where it is ahead.
	now := o.Clock()
	q.At, q.Ended = earlier(q.At, now), earlier(q.Ended, now)
	t, err := o.Store.Target(ctx, q.Target)
	if errors.Is(err, store.ErrNotFound) {
		return wire.MessageAnswer{Acked: true}, nil // the target is gone: nobody will ask
	}
	if err != nil {
		return nil, err
	}
	err = o.Store.AddCorrection(ctx, q.AgentCorrection)
	if errors.Is(err, store.ErrConflict) {
		return nil, errTooFast // the agent keeps it and comes again
	}
	if err != nil {
		return nil, err
	}
	actor := store.Actor("agent:" + c.agent.Host)
	err = o.event(ctx, actor, "agent.drift", map[string]any{"host": c.agent.Host, "target": q.Target, "changes": len(q.Results), "error": q.Error})
	if err != nil {
		return nil, err
	}
	err = o.Store.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: t.ID, Slot: t.Environment, Class: store.ByClock, Cause: "drift", Actor: actor})
	if err != nil {
		return nil, fmt.Errorf("trigger %s: %w", t.ID, err)
	}
	return wire.MessageAnswer{Acked: true}, nil
}

func earlier(a, b time.Time) time.Time {
	return slices.MinFunc([]time.Time{a, b}, time.Time.Compare)
}
