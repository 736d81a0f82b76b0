package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
)

// Options is what an agent is made of.
type Options struct {
	Dir     string
	Drivers driver.Registry
	Version string
	Log     *slog.Logger
	// Away is how long the server must be silent before drift is corrected
	// alone; 0 is 5 minutes.
	Away time.Duration
	// Wait is how long a poll may wait; 0 is as long as the server allows.
	Wait time.Duration
	// Look is how often it is looked whether it is time to; 0 is 10 s.
	Look time.Duration
}

// Agent is the process on a host.
type Agent struct {
	Options
	client *client
	keep   *keeper
	cache  *cache
	alone  *aloneState

	// turn lets one apply at a time write to this host.
	turn chan struct{}
	wg   sync.WaitGroup
	// swapped tells that the other key of a renewal is tried; it belongs to
	// the poll loop.
	swapped bool

	mu      sync.Mutex
	working map[string]context.CancelFunc
	seen    map[string]bool
	contact time.Time
	// barred is what the server said when it last refused this agent: it is
	// not away then, it does not want us.
	barred string
}

// workers is how many requests are answered at once.
const workers = 4

// New opens the state directory. Another agent that runs on it is an error.
func New(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Away == 0 {
		o.Away = 5 * time.Minute
	}
	if o.Wait == 0 {
		o.Wait = wire.MaxWait
	}
	if o.Look == 0 {
		o.Look = 10 * time.Second
	}
	id, err := LoadIdentity(o.Dir)
	if err != nil {
		return nil, err
	}
	c, err := newClient(id, o.Version)
	if err != nil {
		return nil, err
	}
	a := &Agent{Options: o, client: c, turn: make(chan struct{}, 1), working: map[string]context.CancelFunc{}, seen: map[string]bool{}, contact: time.Now()}
	if a.cache, err = openCache(o.Dir); err != nil {
		return nil, err
	}
	if a.alone, err = openAlone(o.Dir); err != nil {
		return nil, err
	}
	var damaged []error
	a.keep, damaged = openKeeper(o.Dir)
	for _, err := range damaged {
		o.Log.Error("what was kept can't be used; the next apply replaces it", "error", err)
	}
	return a, nil
}

// Run works until ctx ends. Then it lets an apply come to a safe end.
func (a *Agent) Run(ctx context.Context) error {
	unlock, err := lockDir(a.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	id := a.client.identity()
	a.Log.Info("the agent starts", "host", id.Host, "server", id.Server, "kept", len(a.keep.list()), "version", a.Version)
	var loops sync.WaitGroup
	loops.Go(func() { a.aloneLoop(ctx) })
	loops.Go(func() { a.renewLoop(ctx) })
	a.pollLoop(ctx)
	loops.Wait()
	a.wg.Wait()
	a.Log.Info("the agent has stopped")
	return nil
}

// The waits between calls that failed.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
	// refusedBackoff is for a server that does not want this agent.
	refusedBackoff = time.Minute
)

func (a *Agent) pollLoop(ctx context.Context) {
	wait := minBackoff
	for ctx.Err() == nil {
		err := a.poll(ctx)
		if err == nil {
			wait = minBackoff
			continue
		}
		if ctx.Err() != nil {
			return
		}
		pause := time.Duration(float64(wait) * (0.5 + mrand.Float64())) // jitter, so that not all come back at once
		var no *refused
		if errors.As(err, &no) {
			if !a.swapKey() {
				pause = refusedBackoff
				a.bar(no)
			}
		}
		a.Log.Warn("the server can't be asked", "error", err, "again", pause.Round(time.Millisecond).String())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		wait = min(2*wait, maxBackoff)
	}
}

// poll asks once and starts what there is to do.
func (a *Agent) poll(ctx context.Context) error {
	q := wire.Poll{Boot: a.client.boot, Version: a.Version, Kept: a.keep.targets(), Wait: a.Wait.Milliseconds()}
	a.mu.Lock()
	for id := range a.working {
		q.Working = append(q.Working, id)
	}
	q.Full = len(a.working) >= workers
	a.mu.Unlock()
	if a.alone.waiting() {
		q.Wait = 0
	}
	var p wire.Polled
	if err := a.client.post(ctx, wire.PathPoll, q, &p); err != nil {
		return err
	}
	a.mu.Lock()
	a.contact, a.barred = time.Now(), ""
	for _, id := range p.Stop {
		if stop := a.working[id]; stop != nil {
			a.Log.Info("a request is not wanted any more", "request", id)
			stop()
		}
	}
	a.mu.Unlock()
	a.settleKey(&p)
	if err := a.keep.allow(p.Alone); err != nil {
		a.Log.Error("what may be done alone can't be kept", "error", err)
	}
	a.alone.report(ctx, a)
	if p.Request != nil {
		a.start(ctx, p.Request)
	}
	if len(p.Stop) > 0 {
		// Give it a moment to end, so that it is not asked about again at once.
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// bar notes that the server shut this agent out.
func (a *Agent) bar(no *refused) {
	if no.status != http.StatusUnauthorized && no.status != http.StatusForbidden {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.barred = no.Error()
}

func (a *Agent) lastContact() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.contact
}

// start works on a request beside the polling.
func (a *Agent) start(ctx context.Context, e *wire.Envelope) {
	id := a.client.identity()
	r, err := e.Open(id.ServerKey, id.Host)
	if err != nil {
		a.Log.Error("a request is refused", "error", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a.mu.Lock()
	if a.seen[r.ID] {
		a.mu.Unlock()
		cancel()
		return // handed out twice
	}
	if len(a.seen) > 10_000 {
		clear(a.seen)
	}
	a.seen[r.ID] = true
	a.working[r.ID] = cancel
	a.mu.Unlock()
	a.wg.Go(func() {
		defer cancel()
		a.work(ctx, r, e, cancel)
		a.mu.Lock()
		delete(a.working, r.ID)
		a.mu.Unlock()
	})
}

// renewLoop replaces the key when a third of its time is left.
func (a *Agent) renewLoop(ctx context.Context) {
	for {
		id := a.client.identity()
		whole := id.Expires.Sub(id.Enrolled)
		wait := max(time.Until(id.Enrolled.Add(whole*2/3)), time.Second)
		select {
		case <-time.After(min(wait, time.Hour)):
		case <-ctx.Done():
			return
		}
		if wait > time.Hour {
			continue
		}
		if err := a.renew(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("the key could not be renewed", "error", err, "expires", id.Expires)
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				return
			}
		}
	}
}

// renew registers a new key. The new one is on disk before the server learns
// of it, so that none of the two is ever lost.
func (a *Agent) renew(ctx context.Context) error {
	id := a.client.identity()
	if id.Next == nil {
		id.Next = make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(id.Next); err != nil {
			return err
		}
		if err := a.become(&id); err != nil {
			return err
		}
	}
	key := ed25519.NewKeyFromSeed(id.Next)
	var got wire.Enrolled
	err := a.client.post(ctx, wire.PathRenew, wire.Renew{PublicKey: key.Public().(ed25519.PublicKey), Proof: wire.Prove(key, id.Host, "renew")}, &got)
	if err != nil {
		return err
	}
	id.Seed, id.Next, id.Expires, id.Enrolled = id.Next, nil, got.Expires, got.Now
	a.Log.Info("the key is renewed", "expires", id.Expires)
	return a.become(&id)
}

// swapKey tries the other key of a renewal whose answer was lost.
func (a *Agent) swapKey() bool {
	id := a.client.identity()
	if id.Next == nil {
		return false
	}
	id.Seed, id.Next = id.Next, id.Seed
	a.swapped = !a.swapped
	return a.become(&id) == nil
}

// settleKey forgets the old key once the server was seen to take the new one.
func (a *Agent) settleKey(p *wire.Polled) {
	if !a.swapped {
		return
	}
	a.swapped = false
	id := a.client.identity()
	id.Next, id.Expires, id.Enrolled = nil, p.Expires, p.Now
	if err := a.become(&id); err != nil {
		a.Log.Error("the renewed key can't be kept", "error", err)
	}
}

func (a *Agent) become(id *Identity) error {
	if err := id.save(a.Dir); err != nil {
		return err
	}
	a.client.mu.Lock()
	defer a.client.mu.Unlock()
	a.client.id = id
	return nil
}

// lockDir keeps a second agent off the state directory.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("another agent runs on %s: %w", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
