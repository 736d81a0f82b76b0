package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/dns"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// runChild does one part of the measurement and prints its wall and CPU time.
func runChild(what, profile string) error {
	ctx := context.Background()
	dir := os.Getenv("BENCH_DIR")
	if what == "inventory" {
		p, _, err := planOnce(ctx, dir, nil)
		if err != nil {
			return err
		}
		fmt.Println(0, 0)
		return writeInventory(dir, p)
	}
	inv, err := readInventory(dir)
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	start, cpu := time.Now(), used()
	switch what {
	case "plan":
		p, _, err := planOnce(ctx, dir, inv)
		if err != nil {
			return err
		}
		if !p.Empty() {
			return fmt.Errorf("the plan has %d changes, the first is %s %s", len(p.Changes), p.Changes[0].Action, p.Changes[0].Key)
		}
	case "fingerprint":
		s, err := open(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		f, ok := s.(driver.Fingerprinter)
		if !ok {
			return errors.New("the driver gives no fingerprints")
		}
		got, err := f.Fingerprint(ctx, input(dir, inv))
		if err != nil || len(got) != 1 {
			return fmt.Errorf("fingerprint: %v %w", got, err)
		}
	default:
		return fmt.Errorf("unknown part %q", what)
	}
	fmt.Println(time.Since(start).Nanoseconds(), (used() - cpu).Nanoseconds())
	return nil
}

func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func open(ctx context.Context) (driver.Session, error) {
	return dns.New().Open(ctx, driver.Environment{Name: "bench", Connect: &dns.Connect{Server: os.Getenv("BENCH_ADDR"), Zone: zoneName,
		TSIG: &dns.TSIG{Ref: "env:BENCH_KEY"}}, Secret: secret.Resolvers{"env": secret.Env{}}.Resolve}, driver.Write)
}

func input(dir string, inv driver.Inventory) driver.Input {
	return driver.Input{Target: "bench", Tree: os.DirFS(dir), Path: "desired.zone", Spec: &dns.Spec{}, Scope: &dns.Scope{}, Inventory: inv,
		Mode: plan.Apply, Now: time.Now()}
}

func planOnce(ctx context.Context, dir string, inv driver.Inventory) (*plan.Plan, driver.Input, error) {
	in := input(dir, inv)
	s, err := open(ctx)
	if err != nil {
		return nil, in, err
	}
	defer s.Close()
	p, err := s.Plan(ctx, in)
	return p, in, err
}

// writeInventory adopts every RRset that the plan found, as an apply would.
func writeInventory(dir string, p *plan.Plan) error {
	prep, err := dns.New().Prepare(context.Background(), input(dir, nil))
	if err != nil {
		return err
	}
	if len(prep.Desired) != len(p.Changes) {
		return fmt.Errorf("%d sets desired, %d changes", len(prep.Desired), len(p.Changes))
	}
	j := &adopter{}
	s, err := open(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Apply(context.Background(), input(dir, nil), p, j); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range j.results {
		fmt.Fprintln(&b, r.Scope, r.Address, r.Kind, r.Class, r.Weight, r.Hash)
	}
	return os.WriteFile(filepath.Join(dir, "inventory"), []byte(b.String()), 0o600)
}

// adopter is a journal that keeps results.
type adopter struct{ results []plan.Result }

func (a *adopter) Pending(context.Context, []plan.Key) error { return nil }
func (a *adopter) Logf(string, ...any)                       {}
func (a *adopter) Done(_ context.Context, r []plan.Result) error {
	a.results = append(a.results, r...)
	return nil
}

func readInventory(dir string) (driver.Inventory, error) {
	f, err := os.Open(filepath.Join(dir, "inventory"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	inv := driver.Inventory{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		n, err := strconv.Atoi(w[4])
		if err != nil {
			return nil, err
		}
		k := plan.Key{Scope: plan.Scope(w[0]), Address: plan.Address(w[1])}
		inv[k] = driver.Owned{Key: k, Kind: w[2], Class: w[3], Weight: n, Hash: w[5]}
	}
	return inv, nil
}
