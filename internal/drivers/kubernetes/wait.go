package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/health"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// Wait bounds what an apply waits for.
type Wait struct {
	// Healthy is how long the objects of a wave may take to get healthy before
	// the next one begins; 10m by default.
	Healthy time.Duration `yaml:"healthy,omitempty" json:"healthy,omitempty"`
	// Hooks is how long a hook may run; 30m by default.
	Hooks time.Duration `yaml:"hooks,omitempty" json:"hooks,omitempty"`
	// Gone is how long a deleted object may take to go; 2m by default.
	Gone time.Duration `yaml:"gone,omitempty" json:"gone,omitempty"`
	// Kinds is how long a kind may take to be served that something else than
	// the target's own definitions brings; 1m by default.
	Kinds time.Duration `yaml:"kinds,omitempty" json:"kinds,omitempty"`
}

// maxWait bounds each of the times.
const maxWait = 24 * time.Hour

func (w Wait) check(d *plan.Diagnostics, field string) {
	for name, t := range map[string]time.Duration{"healthy": w.Healthy, "hooks": w.Hooks, "gone": w.Gone, "kinds": w.Kinds} {
		if t < 0 || t > maxWait {
			d.Errorf(plan.Source{}, field+"."+name, "write a time such as 5m", "%s is no time to wait", t)
		}
	}
}

func within(t, standard time.Duration) time.Duration {
	if t > 0 {
		return t
	}
	return standard
}

func (w Wait) healthy() time.Duration { return within(w.Healthy, 10*time.Minute) }
func (w Wait) hooks() time.Duration   { return within(w.Hooks, 30*time.Minute) }
func (w Wait) gone() time.Duration    { return within(w.Gone, 2*time.Minute) }
func (w Wait) kinds() time.Duration   { return within(w.Kinds, time.Minute) }

// enter makes sure that a batch may begin: nothing went wrong before it that it
// rests on, and what is written is healthy where it has to be.
func (s *set) enter(ctx context.Context, b stage.Batch) error {
	bad := s.run.trouble()
	switch b.Part {
	case stage.Before, stage.After:
		if bad != nil {
			return fmt.Errorf("hooks don't run after a failure: %w", bad)
		}
		if b.Part == stage.After {
			return s.awaitAll(ctx)
		}
	case stage.Writes:
		return s.enterWave(ctx, b.Wave)
	case stage.Deletes:
		return s.enterDeletes(ctx)
	}
	return nil
}

// enterWave waits for the waves before one, also for those of their objects
// that this apply does not write.
func (s *set) enterWave(ctx context.Context, wave int) error {
	s.run.mu.Lock()
	why, entered := s.run.waves[wave]
	begun, bad, noWrites := len(s.run.waves) > 0, s.run.bad, s.run.noWrites
	s.run.mu.Unlock()
	switch {
	case noWrites != nil:
		return fmt.Errorf("nothing is written after a hook failed: %w", noWrites)
	case entered:
		return why
	case bad != nil && begun:
		why = fmt.Errorf("wave %d does not begin, because an earlier one failed: %w", wave, bad)
	default:
		var before []*object
		for _, o := range s.order {
			if o.marks.Wave < wave {
				before = append(before, o)
			}
		}
		why = s.await(ctx, before, fmt.Sprintf("before wave %d", wave))
	}
	s.run.mu.Lock()
	s.run.waves[wave] = why
	s.run.mu.Unlock()
	return why
}

// enterDeletes lets nothing be deleted after a failure: what goes here may be
// what should have come there.
func (s *set) enterDeletes(ctx context.Context) error {
	s.run.mu.Lock()
	bad, stop := s.run.bad, s.run.stop
	s.run.mu.Unlock()
	switch {
	case bad != nil:
		return fmt.Errorf("nothing is deleted after a failure: %w", bad)
	case stop != nil:
		return stop
	case s.waved():
		return s.awaitAll(ctx)
	}
	return nil
}

// waved tells that the objects lie in several waves.
func (s *set) waved() bool {
	for _, o := range s.order {
		if o.marks.Wave != s.order[0].marks.Wave {
			return true
		}
	}
	return false
}

// awaitAll waits until all that is desired is healthy, once.
func (s *set) awaitAll(ctx context.Context) error {
	s.run.mu.Lock()
	ready := s.run.ready
	s.run.ready = true
	s.run.mu.Unlock()
	if ready {
		return nil
	}
	return s.await(ctx, s.order, "after all is written")
}

// secretive gives all that is desired, whose secrets must not show in what
// others say: an event, a container's last words.
func (s *set) secretive() []manifest.Object {
	var out []manifest.Object
	for _, o := range slices.Concat(s.order, s.hooks.list) {
		out = append(out, o.sent())
	}
	return out
}

// scrub keeps the secrets of all that is desired out of a text.
func (s *set) scrub(text string) string {
	for _, o := range slices.Concat(s.order, s.hooks.list) {
		text = o.scrub(text)
	}
	return text
}

// await waits until objects are healthy.
func (s *set) await(ctx context.Context, list []*object, when string) error {
	var objects []manifest.Object
	for _, o := range list {
		if !o.marks.AnyHealth {
			objects = append(objects, o.sent())
		}
	}
	if len(objects) == 0 {
		return nil
	}
	err := s.checks.Wait(ctx, s.cluster, objects, health.WaitOptions{Within: s.spec.Wait.healthy(), Secrets: s.secretive(), Log: func(format string, args ...any) {
		s.run.Logf("%s: %s", when, fmt.Sprintf(format, args...))
	}})
	if err != nil {
		return s.run.fail(fmt.Errorf("%s: %w", when, err))
	}
	return nil
}

// sent is the desired object as it lies in the cluster.
func (o *object) sent() manifest.Object {
	return manifest.Object{Unstructured: o.send, Source: o.desired.Source, Sensitive: o.desired.Sensitive}
}

// between follows a group: definitions have to be served before their objects
// come. It gives why the rest of the batch can't go on.
func (s *set) between(ctx context.Context, group []int, batch []step, errs []error) error {
	var written []*object
	for _, i := range group {
		st := &batch[i]
		switch {
		case errs[i] != nil && st.New == nil:
			if why := s.deletionStops(st); why != nil {
				return why
			}
		case errs[i] != nil && st.New.Value.marks.Hook != nil:
			return s.hookStops(st, errs[i])
		case errs[i] == nil && st.New != nil && st.Change.Action.Writes() && stage.IsDefinition(st.New.Value.ref.GroupKind()):
			written = append(written, st.New.Value.object)
		}
	}
	if len(written) > 0 {
		s.cluster.Forget()
		s.established(ctx, written)
	}
	return nil
}

// established waits until definitions are. What is not makes only its own
// objects impossible.
func (s *set) established(ctx context.Context, list []*object) {
	for _, o := range list {
		if err := s.await(ctx, []*object{o}, "before the objects of "+o.ref.Name); err != nil {
			s.run.mu.Lock()
			s.run.failed[o.ref] = err
			s.run.mu.Unlock()
		}
	}
}

// deletionStops tells whether what comes behind a deletion that did not come
// to its end has to stay: the controller that has to let a custom resource go,
// and what lies in earlier waves.
func (s *set) deletionStops(st *step) error {
	o := st.Old.Value.object
	if !stage.IsCustom(o.ref.GroupKind()) && !s.waved() {
		return nil
	}
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	s.run.stop = cmp.Or(s.run.stop, fmt.Errorf("%s has to be gone first", o.ref))
	return s.run.stop
}
