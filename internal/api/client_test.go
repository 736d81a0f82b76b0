package api

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

func (w *world) client() *Client {
	w.t.Helper()
	c, err := Dial(w.socket, secret.Value{})
	w.must(err)
	w.t.Cleanup(c.Close)
	return c
}

func TestClientOverTheSocket(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(), context.Background()
	st, err := c.Status(ctx)
	if err != nil || st.You.Role != "admin" || st.Version != "test" || len(st.Holds) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	target, err := c.Target(ctx, "infra/zone")
	if err != nil || target.Environment != "dns" || target.Work == nil || len(target.Holds) != 1 {
		t.Errorf("%+v, %v", target, err)
	}
	if _, err := c.Target(ctx, "infra/none"); err == nil {
		t.Error("a target that is not there was given")
	}
	p, err := c.Plan(ctx, "run-infra-zone")
	if err != nil || p.Hash != "hash1" || len(p.Plan.Changes) != 1 || p.Plan.Artefact != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := c.Do(ctx, auth.Suspend, Action{Kind: "target", Key: "infra/zone"}); err != nil {
		t.Error(err)
	}
	w.actions.err = errors.New("no plan waits")
	_, err = c.Do(ctx, auth.Sync, Action{Target: "infra/zone"})
	var e *Error
	if !errors.As(err, &e) || e.Status != 409 || e.Message != "no plan waits" {
		t.Errorf("%v", err)
	}
}

func TestClientOverTCP(t *testing.T) {
	w := newWorld(t)
	c, err := Dial(w.url, secret.New(w.tokens["vera"]))
	w.must(err)
	defer c.Close()
	st, err := c.Status(context.Background())
	if err != nil || st.You.Actor != "user:vera" {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := Dial(w.url, secret.Value{}); err == nil {
		t.Error("a URL without a token was accepted")
	}
}

func TestNoServer(t *testing.T) {
	c, err := Dial(filepath.Join(t.TempDir(), "none"), secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(context.Background()); !errors.Is(err, ErrNoServer) {
		t.Errorf("%v", err)
	}
}

func TestLogFollows(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(), context.Background()
	l, err := c.Log(ctx, "run-infra-zone", 0, 0)
	if err != nil || len(l.Lines) != 1 || l.Done {
		t.Fatalf("%+v, %v", l, err)
	}
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = w.store.AddLog(ctx, "run-infra-zone", []store.LogLine{{Seq: 2, At: time.Now().UTC(), Text: "second"}})
	}()
	start := time.Now()
	l, err = c.Log(ctx, "run-infra-zone", 1, 20*time.Second)
	if err != nil || len(l.Lines) != 1 || l.Lines[0].Text != "second" || time.Since(start) > 10*time.Second {
		t.Fatalf("%+v, %v after %s", l, err, time.Since(start))
	}
	run, err := w.store.Run(ctx, "run-infra-zone")
	w.must(err)
	run.State, run.Finished = store.RunSucceeded, time.Now().UTC()
	w.must(w.store.PutRun(ctx, w.fence, run))
	if l, err = c.Log(ctx, "run-infra-zone", 2, 20*time.Second); err != nil || !l.Done || len(l.Lines) != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
}

var errEnough = errors.New("enough")

func TestEventsStream(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		time.Sleep(200 * time.Millisecond)
		_ = w.store.AddEvent(ctx, store.Event{Actor: "user:x", Kind: "later"})
	}()
	var kinds []string
	err := c.Events(ctx, 1, func(e store.Event) error {
		kinds = append(kinds, e.Kind)
		if e.Kind == "later" {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || len(kinds) != 3 {
		t.Errorf("%v: %v", kinds, err)
	}
}

func TestLastEvent(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for n := range 40 {
		last, err := lastEvent(ctx, w.store)
		if err != nil || last != int64(n+3) {
			t.Fatalf("%d, %v, want %d", last, err, n+3)
		}
		w.must(w.store.AddEvent(ctx, store.Event{Kind: "x"}))
	}
}

func TestBackupOverTheSocket(t *testing.T) {
	w := newWorld(t)
	var b bytes.Buffer
	if err := w.client().Backup(context.Background(), &b); err != nil || b.Len() < 100 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}

func TestServerStopsWhileAClientWaits(t *testing.T) {
	w := newWorld(t)
	go func() { _, _ = w.client().Log(context.Background(), "run-infra-zone", 1, 25*time.Second) }()
	time.Sleep(100 * time.Millisecond)
	// The cleanup ends the server; it would take its whole stop time, and fail
	// the test's own limit, if the waiting request held it.
	start := time.Now()
	t.Cleanup(func() {
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("stopping took %s", d)
		}
	})
}
