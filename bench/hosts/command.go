package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/bench/measure"
)

// cost is what one run took on this side.
type cost struct {
	measure.Cost
	rss int64 // bytes, of the largest process
}

// command runs a program and says what it took.
func command(env []string, dir string, argv ...string) (cost, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	if err := cmd.Run(); err != nil {
		text := out.String()
		return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text[max(0, len(text)-3000):])
	}
	c := cost{Cost: measure.Cost{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.rss = u.Maxrss << 10
	}
	return c, nil
}

// median gives the run with the median wall time, and the largest memory.
func median(costs []cost) cost {
	costs = slices.Clone(costs)
	slices.SortFunc(costs, func(a, b cost) int { return int(a.Wall - b.Wall) })
	m := costs[len(costs)/2]
	for _, c := range costs {
		m.rss = max(m.rss, c.rss)
	}
	return m
}

func figure(name string, value float64, unit, aim string) { measure.Figure(name, value, unit, aim) }

func report(name string, c cost) {
	figure(name, measure.Milliseconds(c.Wall), "ms", "")
	figure(name+"_cpu", measure.Milliseconds(c.CPU), "ms", "")
}

func ratio(a, b cost) float64 { return float64(a.Wall) / float64(b.Wall) }
