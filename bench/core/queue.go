package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"trueup.dev/trueup/bench/measure"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
	storesql "trueup.dev/trueup/internal/store/sql"
)

const queueTargets = 500

// queues measures how many targets a second are reconciled with a driver that
// does nothing, on either store.
func queues(tmp string) error {
	ctx := context.Background()
	pg, err := postgres.Start(ctx, postgres.Options{Durable: true})
	if err != nil {
		return err
	}
	defer pg.Stop()
	for _, c := range []struct {
		store    string
		replicas int
	}{{"sqlite", 1}, {"postgres", 1}, {"postgres", 3}} {
		url := ""
		if c.store == "postgres" {
			if url, err = pg.NewDatabase(ctx); err != nil {
				return err
			}
		}
		name := fmt.Sprintf("%s_%d", c.store, c.replicas)
		wall, err := queueRun(filepath.Join(tmp, name), url, c.replicas)
		if err != nil {
			return err
		}
		measure.Figure("reconcile_noop_"+name, queueTargets/wall.Seconds(), "targets/s", "")
	}
	return nil
}

func queueRun(dir, url string, replicas int) (time.Duration, error) {
	fmt.Fprintf(os.Stderr, "queue: %s\n", filepath.Base(dir))
	s := &scene{dir: dir, n: queueTargets}
	if err := s.prepare(); err != nil {
		return 0, err
	}
	if err := s.write("server.yaml", fmt.Sprintf(`version: 1
dataDir: %s/data
repositories:
  infra: { url: %s/infra.git, branch: main, poll: 1h }
policies:
  quiet: { driftInterval: 24h }
environments:
  web: { driver: noop, policy: quiet, concurrency: 8, connect: {}, allow: [{ repository: infra }] }
`, dir, dir)); err != nil {
		return 0, err
	}
	drivers, err := driver.NewRegistry(noop{})
	if err != nil {
		return 0, err
	}
	cfg, diags := config.LoadServer(filepath.Join(dir, "server.yaml"), drivers)
	if err := diags.Err(); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, replicas)
	started := 0
	defer func() {
		stop()
		for range started {
			<-ended
		}
	}()
	var st store.Store
	for i := range replicas {
		data := filepath.Join(dir, fmt.Sprintf("data-%d", i))
		if st, err = storesql.Open(ctx, storesql.Options{URL: url, Dir: data, EncryptionKey: make([]byte, 32)}); err != nil {
			return 0, err
		}
		defer st.Close()
		e, err := engine.New(ctx, engine.Options{Store: st, Drivers: drivers, Config: cfg, DataDir: data, Resolvers: secret.Resolvers{}})
		if err != nil {
			return 0, err
		}
		started++
		go func() { ended <- e.Run(ctx) }()
	}
	if err := until(ctx, func() (bool, error) {
		phases, err := st.CountTargets(ctx)
		return phases[store.Synced] == queueTargets, err
	}); err != nil {
		return 0, err
	}
	return burst(ctx, s, st)
}

// burst makes all targets due and gives the time until none is.
func burst(ctx context.Context, s *scene, st store.Store) (time.Duration, error) {
	ts := make([]store.Trigger, s.n)
	for i := range ts {
		ts[i] = store.Trigger{Kind: store.Reconcile, Key: "infra/" + s.app(i), Slot: "web", Class: store.ByPush, Cause: "push", Actor: "system:bench"}
	}
	begin := time.Now()
	if err := st.Trigger(ctx, ts...); err != nil {
		return 0, err
	}
	err := until(ctx, func() (bool, error) {
		depth, err := st.Depth(ctx)
		return depth[store.Reconcile] == 0, err
	})
	return time.Since(begin), err
}

func until(ctx context.Context, ready func() (bool, error)) error {
	end := time.Now().Add(10 * time.Minute)
	for time.Now().Before(end) {
		ok, err := ready()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("not within ten minutes")
}
