package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// run is how far an apply has come. It is also the report that the journal goes
// through: hooks that are due are marked before anything is written, and stay
// marked until they have run, so that no end of this process lets one be
// forgotten.
type run struct {
	driver.Report
	phases map[plan.Key]stage.Phase // of the hooks that are due
	grounds

	mu     sync.Mutex
	marked bool
	failed map[manifest.Ref]error // what was not carried out, and why
	// bad is what went wrong first with a write, undeleted with a deletion.
	bad, undeleted error
	// stop keeps further deletions from being begun, noWrites further writes.
	stop, noWrites error
	waves          map[int]error // that were entered, and why they did not begin
	ended          []ended       // hooks that have to be cleaned up
	ready          bool          // everything was seen to be healthy
	anew           []*object     // that were gone and are made anew
}

// grounds are what a plan rests on, and what it deletes.
type grounds struct {
	base    map[plan.Address]string
	deletes map[plan.Address]bool
}

// newRun begins an apply of a plan.
func (s *set) newRun(p *plan.Plan, report driver.Report) *run {
	r := &run{Report: report, phases: map[plan.Key]stage.Phase{}, failed: map[manifest.Ref]error{}, waves: map[int]error{}, grounds: grounds{deletes: deletions(p)}}
	for i := range p.Scopes {
		r.base = p.Scopes[i].Base
	}
	hooks := s.hooks.byKey()
	m := stage.Now(p, s.in.Inventory, s.hooks.digest, hooks)
	for i := range p.Changes {
		if h, hook := hooks[p.Changes[i].Key]; hook {
			key := p.Changes[i].Key
			r.phases[key] = m.Due(&h, s.in.Inventory[key])
		}
	}
	return r
}

// stays tells that a hook is due until it has run.
func (r *run) stays(k plan.Key) bool {
	phase, due := r.phases[k]
	return due && phase != stage.SyncFail
}

// Pending marks the hooks along with the first objects.
func (r *run) Pending(ctx context.Context, keys []plan.Key) error {
	r.mu.Lock()
	first := !r.marked
	r.marked = true
	r.mu.Unlock()
	if first {
		for _, k := range slices.SortedFunc(maps.Keys(r.phases), plan.Key.Compare) {
			if r.stays(k) && !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return r.Report.Pending(ctx, keys)
}

// Done takes in results. A hook that was marked and did not run keeps its mark.
func (r *run) Done(ctx context.Context, results []plan.Result) error {
	r.mu.Lock()
	marked := r.marked
	r.mu.Unlock()
	for i := range results {
		if res := &results[i]; marked && r.stays(res.Key) && res.Outcome != plan.Applied {
			res.Outcome = plan.Unknown
		}
	}
	return r.Report.Done(ctx, results)
}

// note remembers what was not carried out.
func (r *run) note(st *step, err error) {
	ref, parseErr := manifest.ParseAddress(st.Change.Address)
	if parseErr != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[ref] = err
	switch {
	case errors.Is(err, setplan.ErrSkipped):
	case st.Change.Action == plan.Delete:
		r.undeleted = cmp.Or(r.undeleted, fmt.Errorf("%s: %w", ref, err))
	default:
		r.bad = cmp.Or(r.bad, fmt.Errorf("%s: %w", ref, err))
	}
}

// fail notes what went wrong with no single object.
func (r *run) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = cmp.Or(r.bad, err)
	return err
}

// trouble tells what went wrong first, nil if nothing did.
func (r *run) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.bad, r.undeleted)
}

func (r *run) lost(ref manifest.Ref) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[ref]
}

// undone gives all that was not carried out.
func (r *run) undone() []manifest.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.failed))
}

// again notes that an object that was being deleted is made anew; what went
// with it is gone.
func (r *run) again(o *object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.anew = append(r.anew, o)
}

// swept tells that an object went along with one that was made anew.
func (r *run) swept(o *object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.anew, func(g *object) bool { return takes(g, o) })
}
