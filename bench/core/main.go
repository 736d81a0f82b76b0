// Command core measures what many targets cost a server: a push, a poll that
// brings nothing, memory, the start.
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
	page := flag.String("page", "docs/benchmarks.md", "page to put the results into; empty for none")
	sizes := flag.String("sizes", "100,1000,10000", "numbers of targets")
	flag.Parse()
	if err := run(*page, *sizes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(page, sizes string) error {
	tmp, err := os.MkdirTemp("", "trueup-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	bin := filepath.Join(tmp, "trueup")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/trueup").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	t := &measure.Table{Title: "Many targets: one push that concerns one of them",
		Head: []string{"Targets", "Manifests", "Push to applied", "CPU of it", "CPU of an idle poll", "Memory, idle", "Start to ready", "First state of all"}}
	for size := range strings.SplitSeq(sizes, ",") {
		for _, many := range []bool{false, true} {
			var n int
			if _, err := fmt.Sscan(size, &n); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%d targets, manifest per directory: %v\n", n, many)
			s := &scene{dir: filepath.Join(tmp, fmt.Sprintf("%d-%v", n, many)), bin: bin, n: n, many: many}
			if err := measureScene(s, t); err != nil {
				return err
			}
			if err := os.RemoveAll(s.dir); err != nil {
				return err
			}
		}
	}
	q, err := queueTable(tmp)
	if err != nil {
		return err
	}
	return measure.Publish(page, "core", t, q)
}

func measureScene(s *scene, t *measure.Table) error {
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
	manifests := "one"
	if s.many {
		manifests = "one per directory"
	}
	t.Add(s.n, manifests, c.Wall, c.CPU, poll, s.server.Resident(), ready, first)
	return nil
}
