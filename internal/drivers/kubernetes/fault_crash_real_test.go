//go:build real

package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
)

// many makes so many manifests, each with a name of its own.
func many(n int, value string) []string {
	docs := make([]string, n)
	for i := range docs {
		docs[i] = settings(fmt.Sprintf("c%03d", i), value)
	}
	return docs
}

// TestServerKilledInTheMiddleOfAnApply: what was under way has no known outcome
// and stays owned; what was not begun is not; the next run brings the rest.
func TestServerKilledInTheMiddleOfAnApply(t *testing.T) {
	s := newSite(t)
	docs := append(many(150, "one"), deployment("web", "1"), job("once"))
	s.good(docs[:20]...)
	p := s.plan(docs...)
	j := drivertest.NewJournal(s.owned, p)
	calls, killed := 0, make(chan struct{})
	j.OnPending = func([]plan.Key) error {
		if calls++; calls == 2 {
			go func() { time.Sleep(5 * time.Millisecond); cluster.Kill(); close(killed) }()
		}
		return nil
	}
	out := s.applyWith(t.Context(), j, p, docs...)
	<-killed
	count := map[plan.Outcome]int{}
	for _, r := range out.results {
		count[r.Outcome]++
		if r.Outcome == plan.Unknown && !s.owned[r.Key].Pending {
			t.Errorf("%s: its outcome is unknown, and it is not marked so", r.Key)
		}
		if r.Outcome != plan.Applied && r.Error == "" {
			t.Errorf("%s is %s without a reason", r.Key, r.Outcome)
		}
	}
	if len(out.results) != len(p.Changes) || count[plan.Applied] < 20 || count[plan.Applied] > 130 {
		t.Errorf("the kill came at another moment, or changes have no result: %v of %d changes", count, len(p.Changes))
	}
	t.Logf("at the kill: %v", count)
	if _, err := s.try(docs...); err == nil || !strings.Contains(err.Error(), driver.ErrUnreachable.Error()) {
		t.Errorf("planning without a server: %v", err)
	}
	if err := cluster.Again(); err != nil {
		t.Fatal(err)
	}
	there := s.names("configmap")
	for k, o := range s.owned {
		name := "configmap/" + k.Address[strings.LastIndex(string(k.Address), "/")+1:]
		if strings.HasPrefix(string(k.Address), "ConfigMap/") && !o.Pending && !slices.Contains(there, string(name)) {
			t.Errorf("%s is owned and not there", k)
		}
	}
	for _, name := range there {
		if _, owned := s.owned[plan.Key{Address: s.address("ConfigMap", strings.TrimPrefix(name, "configmap/"))}]; !owned {
			t.Errorf("%s was made and is not owned", name)
		}
	}
	s.good(docs...)
	if n := len(s.names("configmap")); n != 150 || len(s.owned) != 152 {
		t.Errorf("%d config maps, %d objects are owned", n, len(s.owned))
	}
	if n := len(s.names("job")); n != 1 {
		t.Errorf("the job is there %d times", n)
	}
	s.good(docs[:10]...)
	if n := len(s.names("configmap")); n != 10 || len(s.owned) != 10 {
		t.Errorf("after pruning: %d config maps, %d owned", n, len(s.owned))
	}
}

// TestServerKilledWhilePruning: deletions are certain or unknown, never lost.
func TestServerKilledWhilePruning(t *testing.T) {
	s := newSite(t)
	docs := many(150, "one")
	s.good(docs...)
	p := s.plan(docs[:5]...)
	j := drivertest.NewJournal(s.owned, p)
	calls, killed := 0, make(chan struct{})
	j.OnPending = func([]plan.Key) error {
		if calls++; calls == 2 {
			go func() { time.Sleep(5 * time.Millisecond); cluster.Kill(); close(killed) }()
		}
		return nil
	}
	s.applyWith(t.Context(), j, p, docs[:5]...)
	<-killed
	if err := cluster.Again(); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.names("configmap") {
		if _, owned := s.owned[plan.Key{Address: s.address("ConfigMap", strings.TrimPrefix(name, "configmap/"))}]; !owned {
			t.Errorf("%s is there and owned no more", name)
		}
	}
	s.drop()
	s.good(docs[:5]...)
	if n := len(s.names("configmap")); n != 5 || len(s.owned) != 5 {
		t.Errorf("%d config maps, %d owned", n, len(s.owned))
	}
}

// TestCancelledWhileTheServerIsSilent: an apply ends soon, whatever the server
// does.
func TestCancelledWhileTheServerIsSilent(t *testing.T) {
	s := newSite(t)
	docs := many(3, "one")
	p := s.plan(docs...)
	hook := slow(t, s.ns, 20*time.Second, 25)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begin := time.Now()
	out := s.apply(ctx, p, docs...)
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("a cancelled apply ended after %s", took)
	}
	if !errors.Is(out.err, context.DeadlineExceeded) {
		t.Errorf("%v", out.err)
	}
	for a, r := range out.results {
		if r.Outcome != plan.Unknown {
			t.Errorf("%s is %s: %s", a, r.Outcome, r.Error)
		}
	}
	hook.remove()
	s.good(docs...)
}
