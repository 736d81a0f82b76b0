package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/notify"
	"trueup.dev/trueup/internal/store"
)

const (
	outboxSlot     = "outbox"
	outboxAttempts = 12
)

// notify puts the messages that a change of status calls for into the outbox,
// each once per route.
func (j *job) notify(ctx context.Context, prev, now store.Status) error {
	for _, kind := range notify.Decide(prev, now) {
		m := notify.Message{Kind: kind, Target: j.target.ID, Environment: j.target.Environment, Run: now.Run,
			Text: now.Message, Fields: map[string]string{"commit": j.desired.Commit, "phase": string(now.Phase)},
			Key: fmt.Sprintf("%s/%s/%s", kind, j.target.ID, j.run.ID)}
		if err := j.e.send(ctx, m, j.run.Actor); err != nil {
			return err
		}
	}
	return nil
}

// send puts one message into the outbox for every route that matches.
func (e *Engine) send(ctx context.Context, m notify.Message, by store.Actor) error {
	var ts []store.Trigger
	for _, d := range e.cfg.Load().router.Routes(m) {
		body, err := json.Marshal(d)
		if err != nil {
			return err
		}
		ts = append(ts, store.Trigger{Kind: store.Outbox, Key: d.Key(), Slot: outboxSlot,
			Class: store.ByPush, Cause: m.Kind, Actor: by, Payload: body})
	}
	if len(ts) == 0 {
		return nil
	}
	return e.store.Trigger(ctx, ts...)
}

// deliver sends one message. It is given up after a number of attempts, which
// is recorded.
func (e *Engine) deliver(ctx context.Context, l store.Lease) store.Finish {
	if strings.HasPrefix(l.Key, forgeKeys) {
		return e.deliverForge(ctx, l)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := store.Finish{Observed: l.Generation, Remove: true}
	var d notify.Delivery
	if err := json.Unmarshal(l.Payload, &d); err != nil {
		e.log.Error("a message in the outbox can't be read and is dropped", "key", l.Key, "error", err)
		return done
	}
	err := e.cfg.Load().router.Send(ctx, d)
	if err == nil {
		return done
	}
	if l.Attempts < outboxAttempts && notify.Retryable(err) {
		return store.Finish{Observed: l.Generation, RetryAfter: e.backoff(l.Attempts)}
	}
	e.log.Error("a notification was given up", "kind", d.Message.Kind, "target", d.Message.Target, "error", err)
	if eerr := e.event(ctx, "system:outbox", "notification.lost", d.Message.Target, d.Message.Run,
		map[string]any{"kind": d.Message.Kind, "error": err.Error()}); eerr != nil {
		e.log.Error("an event could not be recorded", "error", eerr)
	}
	return done
}

// noticeStale tells once that a repository can't be read for long.
func (e *Engine) noticeStale(ctx context.Context, conf *config.Repository, st store.RepositoryState) {
	if st.FetchedAt.IsZero() || e.sourceAge(st) < staleAfter*max(conf.Poll, time.Second) {
		return
	}
	m := notify.Message{Kind: "stale", Target: "repository/" + conf.Name, Text: fmt.Sprintf("repository %s could not be read since %s: %s",
		conf.Name, st.FetchedAt.Format(time.RFC3339), st.Error)}
	// The key names the last success, so that one outage sends one message.
	m.Key = fmt.Sprintf("stale/%s/%d", conf.Name, st.FetchedAt.Unix())
	if e.staleTold(conf.Name, st.FetchedAt) {
		return
	}
	if err := e.send(ctx, m, "system:poll"); err != nil {
		e.log.Error("a notification could not be queued", "error", err)
	}
}

// staleTold remembers for which outage a message went out.
func (e *Engine) staleTold(name string, since time.Time) bool {
	r := e.repos.get(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told.Equal(since) {
		return true
	}
	r.told = since
	return false
}

// noticeFresh tells that a repository can be read again, after a message that
// it could not.
func (e *Engine) noticeFresh(ctx context.Context, conf *config.Repository, st store.RepositoryState) {
	r := e.repos.get(conf.Name)
	r.mu.Lock()
	told := !r.told.IsZero()
	r.told = time.Time{}
	r.mu.Unlock()
	if !told {
		return
	}
	m := notify.Message{Kind: "recovered", Target: "repository/" + conf.Name, Text: fmt.Sprintf("repository %s can be read again", conf.Name),
		Key: fmt.Sprintf("fresh/%s/%d", conf.Name, st.FetchedAt.Unix())}
	if err := e.send(ctx, m, "system:poll"); err != nil {
		e.log.Error("a notification could not be queued", "error", err)
	}
}
