// Command kubernetes measures the kubernetes driver against a real API server,
// beside a bare client-go loop that does the same server-side applies and
// beside kubectl, in the same run:
//
//	go run ./bench/kubernetes [-runs 3] [-targets 100] [-memory 1000]
//
// Every figure is a line "figure NAME VALUE UNIT aim <= LIMIT", where there is
// an aim. Figures are medians over the runs; each run has namespaces of its
// own on one server (etcd and kube-apiserver alone, no controllers), which
// shares the machine's processors with what is measured. A target has ten
// objects. What trueup does is the driver's whole pass for every target:
// prepare, plan, apply with a journal in memory, and the plan that verifies.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"trueup.dev/trueup/bench/measure"
)

func main() {
	runs := flag.Int("runs", 3, "runs of each figure")
	targets := flag.Int("targets", 100, "targets of ten objects")
	memory := flag.Int("memory", 1000, "targets for the figure of memory, 0 leaves it out")
	flag.Parse()
	if err := run(*runs, *targets, *memory); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(runs, targets, memory int) (err error) {
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	s := steps{}
	for i := range runs {
		if err := w.round(s, fmt.Sprintf("r%d", i), targets); err != nil {
			return err
		}
	}
	s.report(targets)
	for _, n := range []int{1, 10, 100} {
		if err := w.growth(n); err != nil {
			return err
		}
	}
	if memory == 0 {
		return nil
	}
	return w.memory(memory)
}

// steps are what is measured, by name.
type steps map[string][]time.Duration

func (s steps) time(name string, f func() error) error {
	began := time.Now()
	err := f()
	s[name] = append(s[name], time.Since(began))
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, time.Since(began).Round(time.Millisecond))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (s steps) median(name string) time.Duration {
	v := slices.Clone(s[name])
	slices.Sort(v)
	return v[len(v)/2]
}

func (s steps) ratio(name, a, b, aim string) {
	measure.Figure(name, float64(s.median(a))/float64(s.median(b)), "x", aim)
}

// report prints the figures of the rounds.
func (s steps) report(targets int) {
	for _, name := range slices.Sorted(keys(s)) {
		measure.Figure(fmt.Sprintf("kubernetes_%d_%s", targets*perTarget, name), measure.Milliseconds(s.median(name)), "ms", "")
	}
	s.ratio("kubernetes_first_apply_over_bare", "first_trueup", "first_bare", "<= 1.3")
	s.ratio("kubernetes_first_apply_over_bare_at_once", "first_trueup_at_once", "first_bare_at_once", "<= 1.3")
	s.ratio("kubernetes_first_apply_over_kubectl", "first_trueup", "first_kubectl", "")
	s.ratio("kubernetes_no_change_dry_runs_over_check", "nochange_bare_dry_runs", "nochange_trueup_check", ">= 20")
	s.ratio("kubernetes_no_change_dry_runs_over_check_under_churn", "nochange_bare_dry_runs_churn", "nochange_trueup_check_churn", ">= 20")
	s.ratio("kubernetes_no_change_dry_runs_over_exact_plan", "nochange_bare_dry_runs", "nochange_trueup_exact", "")
	s.ratio("kubernetes_no_change_kubectl_diff_over_check", "nochange_kubectl_diff", "nochange_trueup_check", "")
	measure.Figure("kubernetes_one_changed_beyond_bare", measure.Milliseconds(s.median("one_trueup")-s.median("one_bare")), "ms", "<= 100")
}

// round measures everything once, in namespaces of its own.
func (w *world) round(s steps, name string, targets int) error {
	bare, many, kubectl := w.fleet(name+"-bare", targets), w.fleet(name+"-many", targets), w.fleet(name+"-kubectl", targets)
	ours, oursMany := w.fleet(name+"-ours", targets), w.fleet(name+"-ours-many", targets)
	if err := w.namespaces(bare, many, kubectl, ours, oursMany); err != nil {
		return err
	}
	return errors.Join(
		s.time("first_bare", func() error { return w.bareAll(bare, 1, false) }),
		s.time("first_trueup", func() error { return w.applyAll(ours, 1) }),
		s.time("first_bare_at_once", func() error { return w.bareAll(many, atOnce, false) }),
		s.time("first_trueup_at_once", func() error { return w.applyAll(oursMany, atOnce) }),
		s.time("first_kubectl", func() error { return w.kubectlApply(kubectl) }),
		w.noChange(s, ours, bare, kubectl),
		w.oneChanged(s, ours, bare))
}
