// Command queue measures the queue alone: how many targets a second go
// through trigger, claim, a run record and finish, on SQLite and on
// PostgreSQL with one and with three replicas, and what idle targets cost.
// Each result is a line "figure NAME VALUE UNIT".
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

func main() {
	n := flag.Int("targets", 5000, "targets to reconcile")
	workers := flag.Int("workers", 4, "workers of each replica")
	flag.Parse()
	if err := run(context.Background(), *n, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n, workers int) error {
	dir, err := os.MkdirTemp("", "trueup-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := measure(ctx, "sqlite", sql.Options{Dir: dir}, 1, n, workers); err != nil {
		return fmt.Errorf("SQLite: %w", err)
	}
	server, err := postgres.Start(ctx, postgres.Options{Durable: true})
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	for _, replicas := range []int{1, 3} {
		url, err := server.NewDatabase(ctx)
		if err == nil {
			err = measure(ctx, fmt.Sprintf("postgres_%d", replicas), sql.Options{URL: url, EncryptionKey: key}, replicas, n, workers)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("PostgreSQL, %d replicas: %w", replicas, err), server.Stop())
		}
	}
	return server.Stop()
}

func figure(name string, value float64, unit string) {
	fmt.Printf("figure queue_%s %.1f %s\n", name, value, unit)
}

func measure(ctx context.Context, name string, o sql.Options, replicas, n, workers int) (err error) {
	stores := make([]store.Store, replicas)
	defer func() {
		for _, s := range stores {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	for i := range stores {
		if stores[i], err = sql.Open(ctx, o); err != nil {
			return err
		}
	}
	few, err := single(ctx, stores[0], "few")
	if err != nil {
		return err
	}
	triggers := make([]store.Trigger, n)
	for i := range triggers {
		triggers[i] = trigger(fmt.Sprintf("target-%06d", i), fmt.Sprintf("environment-%d", i%10))
	}
	start := time.Now()
	if err := stores[0].Trigger(ctx, triggers...); err != nil {
		return err
	}
	figure(name+"_trigger", float64(n)/time.Since(start).Seconds(), "triggers/s")
	start = time.Now()
	if err := drain(ctx, stores, n, workers); err != nil {
		return err
	}
	figure(name+"_reconcile", float64(n)/time.Since(start).Seconds(), "targets/s")
	many, err := single(ctx, stores[0], "many")
	if err != nil {
		return err
	}
	figure(name+"_one_alone", few.Seconds()*1000, "ms")
	figure(fmt.Sprintf("%s_one_among_%d_idle", name, n), many.Seconds()*1000, "ms")
	return nil
}

func trigger(key, slot string) store.Trigger {
	return store.Trigger{Kind: store.Reconcile, Key: key, Slot: slot, Class: store.ByPush, Cause: "push", Actor: "webhook:bench", Commit: "c"}
}

func claimOptions(owner string, most int) store.ClaimOptions {
	return store.ClaimOptions{Owner: owner, Kinds: []store.WorkKind{store.Reconcile}, Max: most, Lease: time.Minute, DefaultSlot: 1000}
}

// single is the time of one target from trigger to finish, the mean of many.
func single(ctx context.Context, s store.Store, key string) (time.Duration, error) {
	const rounds = 100
	start := time.Now()
	for range rounds {
		if err := s.Trigger(ctx, trigger(key, "environment-x")); err != nil {
			return 0, err
		}
		leases, err := s.Claim(ctx, claimOptions("single", 1))
		if err != nil {
			return 0, err
		}
		if len(leases) != 1 {
			return 0, fmt.Errorf("%d leases", len(leases))
		}
		if err := answer(ctx, s, leases[0], false); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / rounds, nil
}

func answer(ctx context.Context, s store.Store, l store.Lease, record bool) error {
	if record {
		r := store.Run{ID: fmt.Sprintf("%s-%d", l.Key, l.Token), Target: l.Key, State: store.RunNoChange, Generation: l.Generation}
		if err := s.PutRun(ctx, l.Fence, r); err != nil {
			return err
		}
	}
	// The next drift check stays in the queue: the target is idle, not gone.
	return s.Finish(ctx, l.Fence, store.Finish{Observed: l.Generation, NextDue: l.Until.Add(time.Hour)})
}

// drain lets the workers of all replicas answer everything, each with one
// durable record of its run.
func drain(ctx context.Context, stores []store.Store, n, workers int) error {
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, len(stores)*workers)
	var wg sync.WaitGroup
	for i, s := range stores {
		for w := range workers {
			wg.Go(func() { errs <- worker(ctx, s, fmt.Sprintf("replica-%d-%d", i, w), &left) })
		}
	}
	wg.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

func worker(ctx context.Context, s store.Store, owner string, left *atomic.Int64) error {
	for left.Load() > 0 {
		leases, err := s.Claim(ctx, claimOptions(owner, 10))
		if err != nil {
			return err
		}
		if len(leases) == 0 {
			if err := s.Wait(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		for _, l := range leases {
			if err := answer(ctx, s, l, true); err != nil {
				return err
			}
			left.Add(-1)
		}
	}
	return nil
}
