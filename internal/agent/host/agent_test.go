package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/agent/host"
	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func TestHostsConvergeThroughTheirAgents(t *testing.T) {
	r := newRig(t, "a", "b")
	a, b := r.box("a"), r.box("b")
	a.start()
	b.start()
	big := strings.Repeat("large ", 300_000)
	want := map[string]string{"a/one": "1", "a/big": big, "b/one": "other"}
	j, err := r.sync(want)
	r.must(err)
	if len(j.Results()) != 3 || a.file("one") != "1" || a.file("big") != big || b.file("one") != "other" {
		t.Fatalf("results %+v; a holds %q", j.Results(), a.file("one"))
	}
	if p := r.plan(want); !p.Empty() || len(p.UnknownScopes()) > 0 {
		t.Fatalf("the plan after apply has %d changes, unknown %v", len(p.Changes), p.UnknownScopes())
	}
	a.write("one", "by hand")
	a.write("foreign", "theirs")
	p := r.plan(want)
	if len(p.Changes) != 1 || p.Changes[0].Reason != plan.ByDrift {
		t.Fatalf("drift is planned as %+v", p.Changes)
	}
	_, err = r.sync(map[string]string{"a/one": "1", "b/one": "other"})
	r.must(err)
	if a.file("one") != "1" || a.file("big") != "" || a.file("foreign") != "theirs" {
		t.Errorf("one %q, big %q, foreign %q", a.file("one"), a.file("big"), a.file("foreign"))
	}
}

// TestSilentAgentIsUnknown: one agent away does not hold the other.
func TestSilentAgentIsUnknown(t *testing.T) {
	r := newRig(t, "a", "b", "c")
	a := r.box("a")
	a.start()
	r.box("b") // enrolled, never started; c is not even enrolled
	p := r.plan(map[string]string{"a/one": "1", "b/one": "1", "c/one": "1"})
	if u := p.UnknownScopes(); len(u) != 2 || len(p.Changes) != 1 {
		t.Fatalf("unknown %v, changes %v", u, p.Changes)
	}
	_, err := r.office.Ask(t.Context(), "c", driver.Ask{Op: driver.AgentPlan, Bundle: driver.Bundle{Scope: "c"}}, nil)
	if !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("a host without an agent gives %v", err)
	}
}

func TestTokensAreForOneHostOnce(t *testing.T) {
	r := newRig(t)
	b := &box{r: r, name: "b", state: t.TempDir()}
	tok := r.token("a")
	if err := b.enrol(tok); err == nil {
		t.Fatal("a token for a took b in")
	}
	a := &box{r: r, name: "a", state: t.TempDir()}
	r.must(a.enrol(tok))
	thief := &box{r: r, name: "a", state: t.TempDir()}
	if err := thief.enrol(tok); err == nil || !strings.Contains(err.Error(), "used") {
		t.Fatalf("a token used twice gives %v", err)
	}
	if _, err := host.LoadIdentity(thief.state); err == nil {
		t.Error("a refused enrolment leaves an identity")
	}
	info, err := os.Stat(filepath.Join(a.state, "identity.json"))
	r.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has mode %o", info.Mode().Perm())
	}
	events, err := r.store.Events(t.Context(), 0, 100)
	r.must(err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
		if strings.Contains(string(e.Data), tok.Reveal()) {
			t.Error("the token stands in the record")
		}
	}
	if got := strings.Join(kinds, " "); got != "agent.token agent.enrolled" {
		t.Errorf("events: %s", got)
	}
}

func TestRevokedAgentGetsNothing(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	a.start()
	_, err := r.sync(map[string]string{"a/one": "1"})
	r.must(err)
	r.must(r.office.Revoke(t.Context(), "user:alice", "a", "stolen"))
	p := r.plan(map[string]string{"a/one": "2"})
	if len(p.UnknownScopes()) != 1 || a.file("one") != "1" {
		t.Fatalf("a revoked agent was asked: %+v", p)
	}
	r.must(a.enrol(r.token("a")))
	a.stop()
	a.start()
	_, err = r.sync(map[string]string{"a/one": "2"})
	r.must(err)
	if a.file("one") != "2" {
		t.Error("a newly enrolled agent does not work")
	}
}

// TestOnlyItsOwnContent: nothing of a's reaches b, on the wire or on disk.
func TestOnlyItsOwnContent(t *testing.T) {
	const canary = "canary-of-a-7731"
	r := newRig(t, "a", "b")
	seen := map[string]bool{}
	r.spy = func(path string, q *http.Request, rec *httptest.ResponseRecorder) {
		body := rec.Body.String()
		var p wire.Polled
		if json.Unmarshal([]byte(body), &p) == nil && p.Request != nil {
			body += string(p.Request.Payload)
		}
		r.set(func() {
			if strings.Contains(body, canary) {
				seen[q.Header.Get("Trueup-Agent")] = true
			}
		})
	}
	a, b := r.box("a"), r.box("b")
	a.start()
	b.start()
	_, err := r.sync(map[string]string{"a/secret": canary, "b/one": "1"})
	r.must(err)
	if a.file("secret") != canary || b.file("one") != "1" {
		t.Fatal("not applied")
	}
	r.set(func() {
		if !seen["a"] || seen["b"] || len(seen) != 1 {
			t.Errorf("the canary went to %v", seen)
		}
	})
	r.must(filepath.WalkDir(b.state, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(p)
		if strings.Contains(string(body), canary) {
			t.Errorf("%s holds a's secret", p)
		}
		if info, _ := d.Info(); info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others", p)
		}
		return err
	}))
}

// TestDriftIsCorrectedAlone: the server is away, drift is mended, and told
// when the server is back.
func TestDriftIsCorrectedAlone(t *testing.T) {
	r := newRig(t, "a")
	r.alone = wire.Alone{Correct: true, Every: 10 * time.Millisecond}
	a := r.box("a")
	a.start()
	r.must(r.putTarget())
	_, err := r.sync(map[string]string{"a/one": "1", "a/two": "2"})
	r.must(err)
	r.until("the agent knows what it may do", func() bool { return strings.Contains(a.kept(), `"correct":true`) })
	r.set(func() { r.down = true })
	r.server.CloseClientConnections()
	a.write("one", "by hand")
	r.must(os.Remove(filepath.Join(a.root, "two")))
	a.write("foreign", "theirs")
	r.until("drift is corrected", func() bool { return a.file("one") == "1" && a.file("two") == "2" })
	r.until("it is written down", func() bool { return len(glob(t, a.state, "drift/*.json")) > 0 })
	if a.file("foreign") != "theirs" {
		t.Error("what others put there is gone")
	}
	a.stop() // it also outlives a restart
	a.start()
	r.set(func() { r.down = false })
	r.until("it is reported", func() bool {
		list, err := r.store.Corrections(t.Context(), "t")
		n := 0
		for _, c := range list {
			n += len(c.Results)
		}
		return err == nil && n == 2
	})
	r.until("nothing waits", func() bool { return len(glob(t, a.state, "drift/*.json")) == 0 })
	w, err := r.store.Work(t.Context(), store.Reconcile, "t")
	r.must(err)
	if w.Generation == 0 {
		t.Error("no run was asked for")
	}
}

// TestRevokedAgentCorrectsNothing: a server that refuses is not away, and what
// it had applied is no longer this host's to keep up.
func TestRevokedAgentCorrectsNothing(t *testing.T) {
	r := newRig(t, "a")
	r.alone = wire.Alone{Correct: true, Every: 10 * time.Millisecond}
	a := r.box("a")
	a.start()
	_, err := r.sync(map[string]string{"a/one": "1"})
	r.must(err)
	r.until("the agent knows what it may do", func() bool { return strings.Contains(a.kept(), `"correct":true`) })
	r.must(r.office.Revoke(t.Context(), "user:alice", "a", "stolen"))
	a.write("one", "by hand")
	time.Sleep(3 * time.Second) // more than Away: nothing may happen, so there is nothing to wait for
	if a.file("one") != "by hand" {
		t.Error("a revoked agent goes on writing")
	}
}

func TestAloneItKeepsToThePolicy(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	a.start()
	_, err := r.sync(map[string]string{"a/one": "1"})
	r.must(err)
	r.set(func() { r.alone = wire.Alone{Why: "drift is reported, not corrected, under this policy"} })
	r.until("the agent knows", func() bool { return strings.Contains(a.kept(), "not corrected, under") })
	r.set(func() { r.down = true })
	r.server.CloseClientConnections()
	a.write("one", "by hand")
	time.Sleep(2 * time.Second) // more than Away: nothing may happen, so there is nothing to wait for
	if a.file("one") != "by hand" || len(glob(t, a.state, "drift/*.json")) > 0 {
		t.Error("drift was corrected although the policy says no")
	}
}

// TestReplayIsRefused hands an old apply to the agent again, as the server
// signed it.
func TestReplayIsRefused(t *testing.T) {
	r := newRig(t, "a")
	var old *wire.Envelope
	inject := false
	r.spy = func(path string, q *http.Request, rec *httptest.ResponseRecorder) {
		var p wire.Polled
		if path != wire.PathPoll || json.Unmarshal(rec.Body.Bytes(), &p) != nil {
			return
		}
		r.set(func() {
			if p.Request != nil && old == nil && strings.Contains(string(p.Request.Payload), `"op":"apply"`) {
				old = p.Request
			}
			if inject && p.Request == nil {
				inject = false
				p.Request = old
				rec.Body.Reset()
				_ = json.NewEncoder(rec.Body).Encode(p)
			}
		})
	}
	a := r.box("a")
	a.start()
	_, err := r.sync(map[string]string{"a/one": "old"})
	r.must(err)
	_, err = r.sync(map[string]string{"a/one": "new"})
	r.must(err)
	a.stop() // a new process has no list of what it answered
	r.set(func() { inject = true })
	a.start()
	r.until("the old request is handed out", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return !inject })
	// The agent answers later requests; the old one must be refused by then.
	r.until("a later plan is answered", func() bool { p := r.plan(map[string]string{"a/one": "new"}); return len(p.UnknownScopes()) == 0 })
	if a.file("one") != "new" {
		t.Fatalf("an old bundle was applied again: %q", a.file("one"))
	}
}

// TestForgedRequestIsRefused changes one byte of what the server signed.
func TestForgedRequestIsRefused(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	r.spy = func(path string, q *http.Request, rec *httptest.ResponseRecorder) {
		var p wire.Polled
		if path == wire.PathPoll && json.Unmarshal(rec.Body.Bytes(), &p) == nil && p.Request != nil {
			p.Request.Payload = []byte(strings.Replace(string(p.Request.Payload), `"op":"plan"`, `"op":"Plan"`, 1))
			rec.Body.Reset()
			_ = json.NewEncoder(rec.Body).Encode(p)
		}
	}
	a.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	p, err := r.session().Plan(ctx, r.input(map[string]string{"a/one": "1"}))
	r.must(err)
	if len(p.UnknownScopes()) != 1 {
		t.Errorf("a forged request was answered: %+v", p)
	}
}

// TestServerDiesInTheMiddle: nothing is written that the server did not note.
func TestServerDiesInTheMiddle(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	a.start()
	want := map[string]string{"a/f1": "1", "a/f2": "2", "a/f3": "3"}
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	n := 0
	j.OnPending = func([]plan.Key) error {
		if n++; n == 2 {
			return errors.New("the lease was lost")
		}
		return nil
	}
	err := r.session().Apply(t.Context(), r.input(want), p, j)
	if err == nil || !strings.Contains(err.Error(), "lease was lost") {
		t.Errorf("apply gives %v", err)
	}
	written := 0
	for _, f := range []string{"f1", "f2", "f3"} {
		if a.file(f) != "" {
			written++
		}
	}
	if written != 1 || len(j.Inventory()) != 1 {
		t.Errorf("%d files are written, %d are owned", written, len(j.Inventory()))
	}
	r.inv = j.Inventory()
	_, err = r.sync(want)
	r.must(err)
	if a.file("f3") != "3" {
		t.Error("it does not converge")
	}
}

// TestAgentDiesInTheMiddle: its process is gone, another takes its place.
func TestAgentDiesInTheMiddle(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	reached, hang := make(chan struct{}), make(chan struct{})
	a.driver.Before = func(ctx context.Context, name string) error {
		if name == "f2" {
			close(reached)
			<-hang // as a process that was killed: it says nothing more
			return errors.New("killed")
		}
		return nil
	}
	a.start()
	want := map[string]string{"a/f1": "1", "a/f2": "2"}
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	ended := make(chan error, 1)
	go func() { ended <- r.session().Apply(t.Context(), r.input(want), p, j) }()
	<-reached
	second := *a
	second.state = copyDir(t, a.state) // the first one still holds the lock
	second.startFresh()
	var err error
	select {
	case err = <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the run waits for a dead agent")
	}
	close(hang)
	if !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("apply gives %v", err)
	}
	inv := j.Inventory()
	if k := (plan.Key{Scope: "a", Address: "f2"}); !inv[k].Pending {
		t.Errorf("f2 should be pending: %+v", inv)
	}
	a.stop()
	r.inv = inv
	_, err = r.sync(want)
	r.must(err)
	if a.file("f2") != "2" {
		t.Error("it does not converge")
	}
}
