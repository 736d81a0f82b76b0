// Package measure runs programs and says what they cost: wall time, CPU time
// and peak memory of the whole process tree. The benchmarks compare trueup
// with a peer in one run on one machine; what counts is the ratio.
package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Cost is what one run took.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration
	// Peak is the largest resident set of the process, in bytes.
	Peak int64
	Out  string
}

// Run runs a program to its end. Exit codes listed in ok are no errors.
func Run(dir string, env []string, stdin string, ok []int, args ...string) (Cost, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	start := time.Now()
	err := cmd.Run()
	c := Cost{Wall: time.Since(start), Out: out.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && slices.Contains(ok, exit.ExitCode()) {
		err = nil
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w: %s%s", strings.Join(args, " "), err, tail(out.String()), tail(errs.String()))
	}
	c.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.Peak = ru.Maxrss << 10
	}
	return c, nil
}

// Median runs f n times and gives the run with the median wall time.
func Median(n int, f func() (Cost, error)) (Cost, error) {
	costs := make([]Cost, 0, n)
	for range n {
		c, err := f()
		if err != nil {
			return c, err
		}
		costs = append(costs, c)
	}
	slices.SortFunc(costs, func(a, b Cost) int { return int(a.Wall - b.Wall) })
	return costs[len(costs)/2], nil
}

// Table is a table of results in Markdown.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// Add appends a row; durations and sizes are printed readably.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = cell(c)
	}
	t.Rows = append(t.Rows, row)
}

// String gives the table.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n| %s |\n|%s\n", t.Title, strings.Join(t.Head, " | "), strings.Repeat(" --- |", len(t.Head)))
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
	}
	return b.String()
}

// Bytes is a size that prints in megabytes.
type Bytes int64

// Ratio is a share of two durations that prints like 1.3×.
type Ratio float64

// Over gives a as a multiple of b.
func Over(a, b time.Duration) Ratio { return Ratio(float64(a) / float64(max(b, 1))) }

func cell(v any) string {
	switch x := v.(type) {
	case time.Duration:
		switch {
		case x < 10*time.Millisecond:
			return fmt.Sprintf("%.2f ms", x.Seconds()*1e3)
		case x < time.Second:
			return fmt.Sprintf("%.0f ms", x.Seconds()*1e3)
		}
		return fmt.Sprintf("%.2f s", x.Seconds())
	case Bytes:
		return fmt.Sprintf("%.0f MB", float64(x)/1e6)
	case Ratio:
		return fmt.Sprintf("%.2f×", float64(x))
	case int:
		return thousands(x)
	}
	return fmt.Sprint(v)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Machine says in a line what this ran on.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores (%s), %s, %s", runtime.NumCPU(), model, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

func tail(s string) string {
	if len(s) > 2000 {
		return "…" + s[len(s)-2000:]
	}
	return s
}
