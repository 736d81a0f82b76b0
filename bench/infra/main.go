// Command infra measures the tofu driver against the bare program in the same
// run:
//
//	go run ./bench/infra [-runs 5] [-roots 20]
//
// Every figure is a line "figure NAME VALUE UNIT aim <= LIMIT", where there is
// an aim. The resources are terraform_data, which cost nothing by themselves,
// so that what is left is overhead. Figures are medians.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/bench/measure"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/tofu"
	"trueup.dev/trueup/internal/plan"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
)

// atOnce is how many roots either side works on at a time.
const atOnce = 4

func main() {
	runs := flag.Int("runs", 5, "runs of each figure")
	roots := flag.Int("roots", 20, "roots in parallel")
	flag.Parse()
	if err := run(*runs, *roots); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(runs, roots int) error {
	program, err := tofuserver.Program()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-infra-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{program: program, dir: dir}
	for _, n := range []int{1, 100} {
		if err := b.compare(n, runs); err != nil {
			return err
		}
	}
	return b.parallel(roots)
}

type bench struct {
	program, dir string
	n            int
}

func root(resources int) string {
	return fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  count = %d\n  input = \"v${count.index}\"\n}\n", resources)
}

// fresh gives a directory that nothing was in before.
func (b *bench) fresh() (string, error) {
	b.n++
	dir := filepath.Join(b.dir, fmt.Sprint(b.n))
	return dir, os.Mkdir(dir, 0o755)
}

// bare makes a working directory for the bare program.
func (b *bench) bare(resources int) (string, error) {
	dir, err := b.fresh()
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "main.tf"), []byte(root(resources)), 0o600)
}

func (b *bench) tofu(dir string, args ...string) error {
	cmd := exec.Command(b.program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/dev/null"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", args, err, out)
	}
	return nil
}

// steps are what is compared, in the order in which they are done.
type steps map[string][]time.Duration

func (s steps) time(name string, f func() error) error {
	began := time.Now()
	err := f()
	s[name] = append(s[name], time.Since(began))
	return err
}

func (s steps) median(name string) time.Duration {
	v := slices.Clone(s[name])
	slices.Sort(v)
	return v[len(v)/2]
}

func (b *bench) compare(resources, runs int) error {
	bare, ours := steps{}, steps{}
	for range runs {
		if err := b.once(resources, bare, ours); err != nil {
			return err
		}
	}
	for _, step := range []string{"init_plan", "apply", "plan_again"} {
		x, y := bare.median(step), ours.median(step)
		name := fmt.Sprintf("infra_%d_%s", resources, step)
		measure.Figure(name+"_bare", measure.Milliseconds(x), "ms", "")
		measure.Figure(name, measure.Milliseconds(y), "ms", "")
		measure.Figure(name+"_overhead", measure.Milliseconds(y-x), "ms", "300")
		measure.Figure(name+"_overhead_share", 100*float64(y-x)/float64(x), "%", "5")
	}
	return nil
}

func (b *bench) once(resources int, bare, ours steps) error {
	dir, err := b.bare(resources)
	if err != nil {
		return err
	}
	planArgs := []string{"plan", "-input=false", "-out=p.bin"}
	err = errors.Join(
		bare.time("init_plan", func() error { return errors.Join(b.tofu(dir, "init", "-input=false"), b.tofu(dir, planArgs...)) }),
		bare.time("apply", func() error { return b.tofu(dir, "apply", "-input=false", "p.bin") }),
		bare.time("plan_again", func() error { return errors.Join(b.tofu(dir, "init", "-input=false"), b.tofu(dir, planArgs...)) }))
	if err != nil {
		return err
	}
	e, err := b.environment()
	if err != nil {
		return err
	}
	s, err := tofu.New().Open(context.Background(), e, driver.Write)
	if err != nil {
		return err
	}
	in := input("bench", resources)
	var p *plan.Plan
	return errors.Join(
		ours.time("init_plan", func() (err error) { p, err = s.Plan(context.Background(), in); return err }),
		ours.time("apply", func() error { return apply(s, in, p) }),
		ours.time("plan_again", func() error { _, err := s.Plan(context.Background(), in); return err }))
}

func (b *bench) environment() (driver.Environment, error) {
	dir, err := b.fresh()
	return driver.Environment{Name: "bench", Dir: dir, HashKey: []byte("0123456789abcdef0123456789abcdef"),
		Connect: &tofu.Connect{Program: b.program, Cache: filepath.Join(dir, "cache"), Backend: tofu.Backend{LocalState: filepath.Join(dir, "state")}}}, err
}

func input(target string, resources int) driver.Input {
	return driver.Input{Target: target, Path: "net", Mode: plan.Apply, Spec: &tofu.Spec{}, Scope: &tofu.Scope{}, Inventory: driver.Inventory{},
		Tree: fstest.MapFS{"net/main.tf": {Data: []byte(root(resources)), Mode: 0o644}}}
}

func apply(s driver.Session, in driver.Input, p *plan.Plan) error {
	p.Mode, p.Target = in.Mode, in.Target
	j := drivertest.NewJournal(in.Inventory, p)
	if err := s.Apply(context.Background(), in, p, j); err != nil {
		return err
	}
	for _, r := range j.Results() {
		if r.Outcome != plan.Applied {
			return fmt.Errorf("%s: %s %s", r.Key, r.Outcome, r.Error)
		}
	}
	return nil
}

// parallel plans and applies many roots, against a shell loop with xargs -P.
func (b *bench) parallel(roots int) error {
	var dirs []string
	for range roots {
		dir, err := b.bare(10)
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
	}
	script := fmt.Sprintf("cd \"$1\" && %s init -input=false >/dev/null && %s plan -input=false -out=p.bin >/dev/null && %s apply -input=false p.bin >/dev/null",
		b.program, b.program, b.program)
	cmd := exec.Command("xargs", "-P", fmt.Sprint(atOnce), "-I{}", "sh", "-c", script, "sh", "{}")
	cmd.Stdin = strings.NewReader(strings.Join(dirs, "\n"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/dev/null"}
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("xargs: %w\n%s", err, out)
	}
	bare := time.Since(began)
	e, err := b.environment()
	if err != nil {
		return err
	}
	s, err := tofu.New().Open(context.Background(), e, driver.Write)
	if err != nil {
		return err
	}
	began = time.Now()
	errs := make([]error, roots)
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			in := input(fmt.Sprintf("bench%d", i), 10)
			p, err := s.Plan(context.Background(), in)
			if err == nil {
				err = apply(s, in, p)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	ours := time.Since(began)
	name := fmt.Sprintf("infra_%d_roots", roots)
	measure.Figure(name+"_xargs", measure.Milliseconds(bare), "ms", "")
	measure.Figure(name, measure.Milliseconds(ours), "ms", "")
	measure.Figure(name+"_against_xargs", float64(ours)/float64(bare), "x", "")
	return errors.Join(errs...)
}
