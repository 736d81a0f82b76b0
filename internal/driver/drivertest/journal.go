package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Journal is a driver.Report in memory that keeps an inventory the way the
// engine does:
//
//   - Pending marks each key, also one that was not owned before.
//   - Applied writes the object into the inventory, or takes it out after a
//     delete, a forget and, for the old name, a rename.
//   - Failed and Skipped put back what stood there before Pending.
//   - Unknown leaves the key pending.
//
// Its two hooks inject failures: an error from a hook is returned to the
// driver and nothing is recorded, as if the process had been killed there.
type Journal struct {
	// OnPending runs before Pending records anything.
	OnPending func(keys []plan.Key) error
	// OnDone runs before Done records anything.
	OnDone func(results []plan.Result) error

	mu        sync.Mutex
	inventory driver.Inventory
	before    map[plan.Key]*driver.Owned
	realms    map[plan.Scope]string
	results   []plan.Result
	log       strings.Builder
	calls     int
}

// NewJournal starts a journal over what a target owns, for one plan.
func NewJournal(inventory driver.Inventory, p *plan.Plan) *Journal {
	j := &Journal{inventory: maps.Clone(inventory), before: map[plan.Key]*driver.Owned{}, realms: map[plan.Scope]string{}}
	if j.inventory == nil {
		j.inventory = driver.Inventory{}
	}
	for _, s := range p.Scopes {
		j.realms[s.Scope] = s.Realm
	}
	return j
}

// Pending marks keys as about to be written.
func (j *Journal) Pending(_ context.Context, keys []plan.Key) error {
	if j.OnPending != nil {
		if err := j.OnPending(keys); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	for _, k := range keys {
		o, owned := j.inventory[k]
		if owned {
			was := o
			j.before[k] = &was
		} else {
			j.before[k] = nil
			o = driver.Owned{Key: k, Realm: j.realms[k.Scope]}
		}
		o.Pending = true
		j.inventory[k] = o
	}
	return nil
}

// Done records outcomes.
func (j *Journal) Done(_ context.Context, results []plan.Result) error {
	if j.OnDone != nil {
		if err := j.OnDone(results); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range results {
		j.record(&results[i])
	}
	j.results = append(j.results, results...)
	return nil
}

func (j *Journal) record(r *plan.Result) {
	from := plan.Key{Scope: r.Scope, Address: r.From}
	switch r.Outcome {
	case plan.Applied:
		if r.From != "" {
			delete(j.inventory, from)
		}
		if r.Action == plan.Delete || r.Action == plan.Forget {
			delete(j.inventory, r.Key)
			return
		}
		j.inventory[r.Key] = driver.Owned{Key: r.Key, Kind: r.Kind, Class: r.Class, Weight: r.Weight, Realm: j.realms[r.Scope],
			Hash: r.Hash, LastApplied: r.LastApplied, Source: r.Source}
	case plan.Failed, plan.Skipped:
		j.restore(r.Key)
		if r.From != "" {
			j.restore(from)
		}
	}
}

func (j *Journal) restore(k plan.Key) {
	was, marked := j.before[k]
	switch {
	case !marked:
	case was == nil:
		delete(j.inventory, k)
	default:
		j.inventory[k] = *was
	}
	delete(j.before, k)
}

// Logf adds a line to the log.
func (j *Journal) Logf(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(&j.log, format+"\n", args...)
}

// Inventory gives a copy of what the target owns now.
func (j *Journal) Inventory() driver.Inventory {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.inventory)
}

// Results gives the outcomes recorded so far.
func (j *Journal) Results() []plan.Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.results)
}

// Log gives the lines logged so far.
func (j *Journal) Log() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.String()
}
