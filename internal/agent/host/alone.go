package host

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/store"
)

// aloneState is what the agent did alone and has not told yet.
type aloneState struct {
	dir  string
	mu   sync.Mutex
	todo []string // file names, oldest first
	last map[string]time.Time
	said map[string]string
	done map[plan.Key][]time.Time
}

func openAlone(dir string) (*aloneState, error) {
	s := &aloneState{dir: filepath.Join(dir, "drift"), last: map[string]time.Time{}, said: map[string]string{}, done: map[plan.Key][]time.Time{}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".json") {
			s.todo = append(s.todo, e.Name()) // names sort by time
		}
	}
	return s, nil
}

func (s *aloneState) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.todo) > 0
}

// maxReports bounds what is kept to be told.
const maxReports = 1000

func (s *aloneState) add(c store.AgentCorrection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.At.UTC().Format("20060102T150405.000000") + "-" + c.ID + ".json"
	if len(s.todo) >= maxReports {
		return fmt.Errorf("%d reports wait already; no more drift is corrected without the server", len(s.todo))
	}
	if err := writeJSON(filepath.Join(s.dir, name), c); err != nil {
		return err
	}
	s.todo = append(s.todo, name)
	return nil
}

// report tells the server what was done without it.
func (s *aloneState) report(ctx context.Context, a *Agent) {
	for {
		s.mu.Lock()
		if len(s.todo) == 0 {
			s.mu.Unlock()
			return
		}
		name := s.todo[0]
		s.mu.Unlock()
		if err := s.tell(ctx, a, name); err != nil {
			a.Log.Warn("what was corrected without the server is not reported yet", "error", err)
			return
		}
		s.mu.Lock()
		s.todo = slices.DeleteFunc(s.todo, func(n string) bool { return n == name })
		s.mu.Unlock()
	}
}

func (s *aloneState) tell(ctx context.Context, a *Agent, name string) error {
	path := filepath.Join(s.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c store.AgentCorrection
	if err := json.Unmarshal(b, &c); err != nil {
		a.Log.Error("a report is damaged and can't be told", "file", path, "error", err)
		return os.Rename(path, path+".damaged")
	}
	var ans wire.MessageAnswer
	if err := a.client.post(ctx, wire.PathDrift, wire.Drift{AgentCorrection: c}, &ans); err != nil {
		return err
	}
	a.Log.Info("what was corrected without the server is reported", "target", c.Target, "changes", len(c.Results))
	return os.Remove(path)
}

// aloneLoop corrects drift while the server is away.
func (a *Agent) aloneLoop(ctx context.Context) {
	tick := time.NewTicker(a.Look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if time.Since(a.lastContact()) < a.Away {
			continue
		}
		for _, k := range a.keep.list() {
			if ctx.Err() != nil {
				return
			}
			if every := max(k.Alone.Every, a.Look); time.Since(a.alone.last[k.Target]) < every {
				continue
			}
			a.alone.last[k.Target] = time.Now()
			if err := a.correct(ctx, k.Target); err != nil && ctx.Err() == nil {
				a.say(k.Target, err.Error())
			}
		}
	}
}

// say logs what keeps drift from being corrected, once.
func (a *Agent) say(target, text string) {
	if a.alone.said[target] == text {
		return
	}
	a.alone.said[target] = text
	a.Log.Warn("drift is not corrected without the server", "target", target, "why", text)
}

// correct brings one target back to what was last approved and applied. It
// creates and updates, and never deletes.
func (a *Agent) correct(ctx context.Context, target string) error {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	k, ok := a.keep.get(target)
	a.mu.Lock()
	barred := a.barred
	a.mu.Unlock()
	switch {
	case barred != "":
		return errors.New(barred)
	case !ok:
		return nil
	case k.Doubt != "":
		return errors.New(k.Doubt)
	case !k.Alone.Correct:
		return errors.New(k.Alone.Why)
	}
	id := a.client.identity()
	r, err := k.Envelope.Open(id.ServerKey, id.Host)
	if err != nil {
		return err
	}
	r.Bundle.Mode, r.Bundle.Now, r.Bundle.Inventory = plan.AddOnly, time.Now().UTC(), k.Inventory
	r.Bundle.Previously = nil
	s, in, err := a.open(ctx, r)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := s.Plan(ctx, in)
	if err != nil {
		return err
	}
	if err := a.onlyDrift(p, &k); err != nil || len(p.Changes) == 0 {
		return err
	}
	return a.mend(ctx, s, in, p, &k)
}

// onlyDrift takes out of a plan what is not drift, and holds it where a guard
// would, or where somebody else fights for the same objects.
func (a *Agent) onlyDrift(p *plan.Plan, k *kept) error {
	p.Changes = slices.DeleteFunc(p.Changes, func(c plan.Change) bool {
		return c.Reason != plan.ByDrift || c.Conflict != "" || c.Action != plan.Create && c.Action != plan.Update
	})
	if len(p.Changes) == 0 {
		a.alone.said[k.Target] = ""
		return nil
	}
	for _, s := range p.Scopes {
		if s.Unknown != "" {
			return errors.New(s.Unknown)
		}
		if s.Empty {
			return errors.New("the host reads empty where the target owns objects")
		}
		for _, o := range k.Inventory {
			if o.Scope == s.Scope && o.Realm != "" && o.Realm != s.Realm {
				return fmt.Errorf("the host was %s and is now %s", o.Realm, s.Realm)
			}
		}
	}
	if v := policy.Guard(k.Alone.Guard, p); len(v) > 0 {
		return errors.New("held by a guard: " + v[0].Text)
	}
	now := time.Now()
	for i := range p.Changes {
		key := p.Changes[i].Key
		recent := slices.DeleteFunc(a.alone.done[key], func(t time.Time) bool { return now.Sub(t) > time.Hour })
		a.alone.done[key] = recent
		if k.Alone.Flapping > 0 && len(recent) >= k.Alone.Flapping {
			return fmt.Errorf("%s was corrected %d times within the last hour: another writer fights for it", key, len(recent))
		}
	}
	return nil
}

// mend applies a plan and writes down what was done, to be told later.
func (a *Agent) mend(ctx context.Context, s driver.Session, in driver.Input, p *plan.Plan, k *kept) error {
	c := store.AgentCorrection{ID: rand.Text(), Target: k.Target, At: time.Now().UTC(), Generation: k.Highest, Realm: map[plan.Scope]string{}}
	for _, s := range p.Scopes {
		c.Realm[s.Scope] = s.Realm
	}
	j := &localJournal{a: a}
	err := s.Apply(ctx, in, p, j)
	c.Ended, c.Results = time.Now().UTC(), j.results
	if err != nil {
		c.Error = err.Error()
	}
	for _, r := range j.results {
		if r.Outcome == plan.Applied {
			a.alone.done[r.Key] = append(a.alone.done[r.Key], c.Ended)
		}
	}
	a.Log.Info("drift was corrected without the server", "target", k.Target, "changes", len(j.results), "error", err)
	keepErr := a.keep.own(k.Target, k.Highest, owned(k.Inventory, p, j.results))
	if len(c.Results) == 0 {
		return errors.Join(err, keepErr)
	}
	return errors.Join(err, keepErr, a.alone.add(c))
}

// localJournal takes down what is done while nobody listens. What is written
// is owned already: there is nothing to note before.
type localJournal struct {
	a       *Agent
	mu      sync.Mutex
	results []plan.Result
}

// Pending refuses once the agent is to stop.
func (j *localJournal) Pending(ctx context.Context, _ []plan.Key) error { return ctx.Err() }

// Done takes results down.
func (j *localJournal) Done(_ context.Context, results []plan.Result) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(j.results, results...)
	return nil
}

// Logf writes to the agent's log.
func (j *localJournal) Logf(format string, args ...any) { j.a.Log.Info(fmt.Sprintf(format, args...)) }
