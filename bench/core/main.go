// Command core measures what many targets cost a server: a push that concerns
// one of them, a poll that brings nothing, memory, the start; and how many a
// second are reconciled with a driver that does nothing. Each result is a line
// "figure NAME VALUE UNIT".
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"trueup.dev/trueup/bench/measure"
)

func main() {
	sizes := flag.String("sizes", "100,1000,10000", "numbers of targets")
	flag.Parse()
	if err := run(*sizes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(sizes string) error {
	tmp, err := os.MkdirTemp("", "trueup-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	bin := filepath.Join(tmp, "trueup")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/trueup").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	for size := range strings.SplitSeq(sizes, ",") {
		for _, many := range []bool{false, true} {
			var n int
			if _, err := fmt.Sscan(size, &n); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%d targets, manifest per directory: %v\n", n, many)
			s := &scene{dir: filepath.Join(tmp, fmt.Sprintf("%d-%v", n, many)), bin: bin, n: n, many: many}
			if err := measureScene(s); err != nil {
				return err
			}
			if err := os.RemoveAll(s.dir); err != nil {
				return err
			}
		}
	}
	return queues(tmp)
}

func measureScene(s *scene) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if _, err := s.start(); err != nil {
		return err
	}
	begin := time.Now()
	if err := s.settle(); err != nil {
		s.server.Stop()
		return err
	}
	first := time.Since(begin)
	s.server.Stop()
	ready, err := s.start()
	if err != nil {
		return err
	}
	defer s.server.Stop()
	if err := s.idle(); err != nil {
		return err
	}
	round := 0
	c, err := measure.Median(5, func() (measure.Cost, error) { round++; return s.push(round) })
	if err != nil {
		return err
	}
	poll, err := s.nothing()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("targets_%d_one_manifest_", s.n)
	if s.many {
		name = fmt.Sprintf("targets_%d_many_manifests_", s.n)
	}
	fig := func(what string, d time.Duration, aim string) {
		measure.Figure(name+what, measure.Milliseconds(d), "ms", aim)
	}
	fig("push_to_applied", c.Wall, "")
	fig("push_cpu", c.CPU, "")
	fig("idle_poll_cpu", poll, "")
	fig("start_to_ready", ready, "<= 2000")
	fig("first_state_of_all", first, "")
	measure.Figure(name+"idle_memory", float64(s.server.Resident())/1e6, "MB", "<= 200")
	return nil
}
