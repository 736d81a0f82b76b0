package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver/drivertest"
)

func TestCancelPassesThrough(t *testing.T) {
	r := newRig(t, "a")
	a := r.box("a")
	reached := make(chan struct{})
	a.driver.Before = func(ctx context.Context, name string) error {
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}
	a.start()
	want := map[string]string{"a/f1": "1"}
	p := r.plan(want)
	j := drivertest.NewJournal(r.inv, p)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.session().Apply(ctx, r.input(want), p, j) }()
	<-reached
	start := time.Now()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("apply gives %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("cancelling does not end the apply")
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(j.Results()) != 1 {
		t.Errorf("results of a cancelled apply: %+v", j.Results())
	}
}
