// Command hosts measures the ssh driver against rsync and Ansible on real
// OpenSSH hosts:
//
//	go run ./bench/hosts [-hosts 1,10,50] [-files 200] [-runs 3] [-parts small,ansible,large]
//
// Every figure is a line "figure NAME VALUE UNIT aim <= LIMIT", where there is
// an aim. All sides bring the same files to the same hosts in the same run;
// figures are medians. It needs root, rsync and ansible-core.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

type bench struct {
	dir   string
	lab   *sshhosts.Lab
	files int
	runs  int
	bin   string
	// profile is a file for a CPU profile of the driver with the large file.
	profile string
}

func main() {
	hosts := flag.String("hosts", "1,10,50", "numbers of hosts")
	files := flag.Int("files", 200, "small files")
	runs := flag.Int("runs", 3, "runs of each figure")
	parts := flag.String("parts", "small,ansible,large", "what to measure")
	bin := flag.String("trueup", "", "the program to measure; built from here without it")
	profile := flag.String("profile", "", "file for a CPU profile of the driver with the large file")
	child := flag.String("child", "", "used by the program itself")
	flag.Parse()
	var err error
	if *child != "" {
		err = runChild(*child)
	} else {
		err = run(*hosts, *parts, &bench{files: *files, runs: *runs, bin: *bin, profile: *profile})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(hosts, parts string, b *bench) error {
	var counts []int
	for s := range strings.SplitSeq(hosts, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-hosts: %q is no number of hosts", s)
		}
		counts = append(counts, n)
	}
	dir, err := os.MkdirTemp("", "bench-hosts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if err := b.build(); err != nil {
		return err
	}
	steps := map[string]func() error{
		"small":   func() error { return b.small(counts) },
		"ansible": func() error { return b.ansible(counts) },
		"large":   b.large,
	}
	for part := range strings.SplitSeq(parts, ",") {
		step := steps[part]
		if step == nil {
			return fmt.Errorf("-parts: there is no part %q", part)
		}
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// build makes the program, unless one is given.
func (b *bench) build() error {
	if b.bin != "" {
		return nil
	}
	b.bin = filepath.Join(b.dir, "trueup")
	_, err := command(nil, "", "go", "build", "-o", b.bin, "./cmd/trueup")
	return err
}

// start starts n fresh hosts.
func (b *bench) start(n int) (stop func(), err error) {
	dir, err := os.MkdirTemp(b.dir, "lab-")
	if err != nil {
		return nil, err
	}
	if b.lab, err = sshhosts.Run(dir, sshhosts.Options{Hosts: sshhosts.Of(n, sshhosts.Debian), Disk: true}); err != nil {
		return nil, err
	}
	return func() { b.lab.Stop(); _ = os.RemoveAll(dir) }, nil
}
