package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// opening is a driver that remembers with which credential it was opened.
type opening struct {
	driver.Driver
	mu     sync.Mutex
	opened []string
	closed int
}

type openedSession struct{ o *opening }

func (o *opening) Open(ctx context.Context, env driver.Environment, _ driver.Purpose) (driver.Session, error) {
	v, err := env.Secret(ctx, "store:key")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = append(o.opened, v.Reveal())
	return openedSession{o}, err
}

func (openedSession) Plan(context.Context, driver.Input) (*plan.Plan, error) { return nil, nil }
func (openedSession) Apply(context.Context, driver.Input, *plan.Plan, driver.Report) error {
	return nil
}
func (s openedSession) Close() error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.closed++
	return nil
}

type rotating struct {
	value string
	err   error
}

func (r *rotating) Resolve(context.Context, string) (secret.Value, error) {
	return secret.New(r.value), r.err
}

// TestRotatedCredentialOpensANewSession: a session goes on while its
// credential is the same or can't be read, and is replaced once it has changed.
func TestRotatedCredentialOpensANewSession(t *testing.T) {
	store := &rotating{value: "one"}
	now := time.Unix(1000, 0)
	e := &Engine{maskKey: []byte("k"), parts: parts{resolvers: secret.Resolvers{"store": store}, clock: func() time.Time { return now }, log: slog.New(slog.DiscardHandler)}}
	e.cfg.Store(&active{Server: &config.Server{}})
	e.sessions = newSessionPool(e)
	d, env := &opening{}, &config.Environment{Name: "x"}
	use := func() {
		t.Helper()
		_, release, err := e.sessions.get(t.Context(), d, env, driver.Write)
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	expect := func(opened, closed int) {
		t.Helper()
		if len(d.opened) != opened || d.closed != closed {
			t.Fatalf("%d opened, %d closed; expected %d and %d", len(d.opened), d.closed, opened, closed)
		}
	}
	use()
	now = now.Add(2 * rotationCheck)
	use()
	expect(1, 0)
	store.err, now = errors.New("the store is away"), now.Add(2*rotationCheck)
	use()
	expect(1, 0)
	store.value, store.err, now = "two", nil, now.Add(2*rotationCheck)
	use()
	expect(2, 1)
	if d.opened[1] != "two" {
		t.Errorf("the new session was opened with %q", d.opened[1])
	}
}
