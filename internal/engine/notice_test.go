package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// telling is the files driver with sessions that tell of changes, and that know
// the fingerprint of what they planned.
type telling struct {
	driver.Driver
	mu      sync.Mutex
	watches map[*tellingSession]context.Context
	notify  func(string)
	plans   int
	now     string // the fingerprint of what is there
	planned string // of what was last planned
}

type tellingSession struct {
	driver.Session
	d *telling
}

func newTelling() *telling {
	return &telling{Driver: files.New(), watches: map[*tellingSession]context.Context{}, now: "1"}
}

func (d *telling) Info() driver.Info {
	i := d.Driver.Info()
	i.ExactEvery = time.Hour
	return i
}

func (d *telling) Open(ctx context.Context, env driver.Environment, p driver.Purpose) (driver.Session, error) {
	s, err := d.Driver.Open(ctx, env, p)
	return &tellingSession{s, d}, err
}

func (s *tellingSession) Watch(ctx context.Context, notify func(string)) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.watches[s], s.d.notify = ctx, notify
	return nil
}

func (s *tellingSession) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	s.d.mu.Lock()
	s.d.plans++
	s.d.planned = s.d.now
	s.d.mu.Unlock()
	return s.Session.Plan(ctx, in)
}

func (s *tellingSession) Planned(string) map[plan.Scope]string {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return map[plan.Scope]string{"": s.d.planned}
}

func (s *tellingSession) Fingerprint(context.Context, driver.Input) (map[plan.Scope]string, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.d.now == "" {
		return nil, errors.New("it can't be told")
	}
	return map[plan.Scope]string{"": s.d.now}, nil
}

// tell says that something changed, to a fingerprint.
func (d *telling) tell(now string) {
	d.mu.Lock()
	d.now = now
	notify := d.notify
	d.mu.Unlock()
	notify("infra/site")
}

func (d *telling) counted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plans
}

// What a session tells of is corrected long before the clock would look; a
// notice for nothing costs a fingerprint and no plan.
func TestNoticedChangesAreCorrectedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := newTelling()
	w.files, w.interval = d, time.Hour
	c := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c)
	w.write("index.html", "by hand\n")
	d.tell("2")
	w.eventually("corrected", func() bool {
		return w.file("index.html") == "one\n" && w.target("infra/site").Status.Phase == store.Synced
	})
	runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/site"})
	if err != nil || len(runs) == 0 || runs[0].Cause != "drift" || runs[0].Actor != "system:watch" || runs[0].Class != store.ByClock {
		t.Errorf("%+v, %v", runs, err)
	}
	// The pause after a notice is longer than this test, so ask the store as the
	// notice would.
	before := d.counted()
	check := func() {
		t.Helper()
		work, err := w.st.Work(context.Background(), store.Reconcile, "infra/site")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.st.Trigger(context.Background(), store.Trigger{Kind: store.Reconcile, Key: "infra/site", Slot: "site", Class: store.ByClock, Cause: "drift", Actor: "system:watch"}); err != nil {
			t.Fatal(err)
		}
		w.eventually("looked at", func() bool {
			now, err := w.st.Work(context.Background(), store.Reconcile, "infra/site")
			return err == nil && now.Observed > work.Observed
		})
	}
	check()
	if n := d.counted(); n != before {
		t.Errorf("%d plans though nothing moved", n-before)
	}
	for _, fp := range []string{"3", ""} {
		d.mu.Lock()
		d.now = fp
		d.mu.Unlock()
		before = d.counted()
		check()
		if d.counted() == before {
			t.Errorf("no plan though the fingerprint is %q", fp)
		}
	}
	w.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ctx := range d.watches {
		if ctx.Err() == nil {
			t.Error("a watch goes on after its session")
		}
	}
}

func TestNoticesCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := newTelling()
	w.files = d
	w.config = strings.Replace(w.config, "driftInterval: 1s", "driftInterval: 1s, notice: off", 1)
	c := w.push(map[string]string{"trueup.yaml": baseManifest, "web/index.html": "one\n"})
	w.start()
	w.synced("infra/site", c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.watches) != 0 {
		t.Error("it watches")
	}
}
