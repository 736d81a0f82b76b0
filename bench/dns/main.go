// Command dns measures the dns driver against dig and nsupdate on a real BIND:
//
//	go run ./bench/dns [-sizes 1000,10000,100000] [-runs 5]
//
// Every figure is a line "figure NAME VALUE UNIT aim <= LIMIT", where there is
// an aim. Both sides talk to the same server in the same run; figures are
// medians.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/servertest/dnsserver"
)

func main() {
	sizes := flag.String("sizes", "1000,10000,100000", "records in the zones")
	runs := flag.Int("runs", 5, "runs of each figure")
	child := flag.String("child", "", "used by the program itself")
	profile := flag.String("profile", "", "file for a CPU profile of the plans")
	flag.Parse()
	var err error
	if *child != "" {
		err = runChild(*child, *profile)
	} else {
		err = run(*sizes, *runs, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cost is what one run took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // bytes
}

func median[T int64 | time.Duration | float64](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func walls(c []cost) time.Duration {
	v := make([]time.Duration, len(c))
	for i := range c {
		v[i] = c[i].wall
	}
	return median(v)
}

func cpus(c []cost) time.Duration {
	v := make([]time.Duration, len(c))
	for i := range c {
		v[i] = c[i].cpu
	}
	return median(v)
}

func figure(name string, value float64, unit, aim string) {
	line := fmt.Sprintf("figure %s %.2f %s", name, value, unit)
	if aim != "" {
		line += " aim <= " + aim
	}
	fmt.Println(line)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func run(sizes string, runs int, profile string) error {
	dir, err := os.MkdirTemp("", "bench-dns-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, s := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		if err := benchPlan(filepath.Join(dir, s), n, runs, profile); err != nil {
			return fmt.Errorf("%d records: %w", n, err)
		}
	}
	return benchApply(filepath.Join(dir, "apply"), 10_000, runs)
}

// benchPlan compares a plan with nothing to change with dig's transfer.
func benchPlan(dir string, n, runs int, profile string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	z := makeZone(n)
	srv, err := dnsserver.StartBIND(dir, dnsserver.Zone{Name: zoneName, Text: z.text()})
	if err != nil {
		return err
	}
	defer srv.Stop()
	if err := os.WriteFile(filepath.Join(dir, "desired.zone"), []byte(z.text()), 0o600); err != nil {
		return err
	}
	if _, err := self("inventory", dir, srv, ""); err != nil {
		return err
	}
	var dig, plan, print []cost
	for range runs {
		d, err := command("dig", "@127.0.0.1", "-p", strconv.Itoa(srv.Port), "-y", "hmac-sha256:"+srv.Key.Name+":"+srv.Key.Secret, zoneName, "AXFR")
		if err != nil {
			return err
		}
		p, err := self("plan", dir, srv, profile)
		if err != nil {
			return err
		}
		f, err := self("fingerprint", dir, srv, "")
		if err != nil {
			return err
		}
		dig, plan, print = append(dig, d), append(plan, p), append(print, f)
	}
	var rss []int64
	for _, p := range plan {
		rss = append(rss, p.rss)
	}
	aim := map[bool]string{true: "2"}[n == 100_000]
	name := fmt.Sprintf("dns_plan_%d_", n)
	figure(name+"dig_wall", ms(walls(dig)), "ms", "")
	figure(name+"wall", ms(walls(plan)), "ms", "")
	figure(name+"wall_ratio", float64(walls(plan))/float64(walls(dig)), "x", aim)
	figure(name+"dig_cpu", ms(cpus(dig)), "ms", "")
	figure(name+"cpu", ms(cpus(plan)), "ms", "")
	figure(name+"cpu_ratio", float64(cpus(plan))/float64(cpus(dig)), "x", "")
	figure(name+"rss", float64(median(rss))/1e6, "MB", map[bool]string{true: "300"}[n == 100_000])
	figure(fmt.Sprintf("dns_fingerprint_%d_wall", n), ms(walls(print)), "ms", "")
	return nil
}

// command measures a program from start to end; what it prints is thrown away.
func command(name string, args ...string) (cost, error) {
	cmd := exec.Command(name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	err := cmd.Run()
	c := cost{wall: time.Since(start)}
	if err != nil {
		return c, fmt.Errorf("%s: %w: %s", name, err, errs.String())
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	c.cpu = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	c.rss = use.Maxrss * 1024
	return c, nil
}

// self runs a part of the measurement in a process of its own, so that memory
// and CPU are that part's alone.
func self(what, dir string, srv *dnsserver.Server, profile string) (cost, error) {
	exe, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	cmd := exec.Command(exe, "-child", what, "-profile", profile)
	cmd.Env = append(os.Environ(), "BENCH_DIR="+dir, "BENCH_ADDR="+srv.Addr, "BENCH_KEY="+srv.Key.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w", what, err)
	}
	var c cost
	if _, err := fmt.Sscan(string(out), (*int64)(&c.wall), (*int64)(&c.cpu)); err != nil {
		return c, fmt.Errorf("%s printed %q: %w", what, out, err)
	}
	c.rss = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
	return c, nil
}
