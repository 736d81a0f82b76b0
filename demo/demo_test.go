//go:build real

// Package demo tests what newcomers run first: the demo and the commands of
// the quick start.
package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build makes a trueup of the tree under test and gives its directory.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "trueup.dev/trueup/cmd/trueup").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// shell runs a command with an end, in a process group of its own that does
// not outlive it.
func shell(t *testing.T, dir, bin, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TRUEUP_BIN="+bin, "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin", "NO_COLOR=1",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// TestDemo runs the demo with BIND, and as it runs where BIND can't be had.
func TestDemo(t *testing.T) {
	t.Run("bind", runDemo)
	t.Run("own server", func(t *testing.T) {
		t.Setenv("NO_BIND", "1")
		runDemo(t)
	})
}

func runDemo(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	out, err := shell(t, ".", build(t), "", "./run.sh")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, _ := filepath.Glob(tmp + "/trueup-demo.*"); len(left) > 0 {
		t.Errorf("the demo left %s behind", left)
	}
}

// TestQuickstart runs every sh block of the quick start, in order, in one
// shell, and looks for the lines of every text block in what the block before
// it printed; … stands for anything.
func TestQuickstart(t *testing.T) {
	page, err := os.ReadFile("../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fenced(string(page))
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	for i, b := range blocks {
		if b.kind == "sh" {
			script.WriteString("echo \"" + marker(i) + "\"\n" + b.body)
		}
	}
	out, err := shell(t, t.TempDir(), build(t), "", "bash", "-c", script.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, b := range blocks {
		if b.kind != "text" || i == 0 {
			continue
		}
		_, printed, _ := strings.Cut(out, marker(i-1)+"\n")
		printed, _, _ = strings.Cut(printed, "@@block ")
		for line := range strings.Lines(b.body) {
			if !found(printed, line) {
				t.Errorf("the page shows %q; block %d printed:\n%s", strings.TrimSpace(line), i-1, printed)
			}
		}
	}
}

func marker(i int) string { return "@@block " + string(rune('A'+i/26)) + string(rune('a'+i%26)) }

type block struct{ kind, body string }

// fenced gives the sh and text blocks of a page.
func fenced(page string) []block {
	var out []block
	in := false
	var now block
	for line := range strings.Lines(page) {
		switch {
		case !in && strings.HasPrefix(line, "```"):
			in, now = true, block{kind: strings.TrimSpace(line[3:])}
		case in && strings.HasPrefix(line, "```"):
			in = false
			if now.kind == "sh" || now.kind == "text" {
				out = append(out, now)
			}
		case in:
			now.body += line
		}
	}
	return out
}

// found tells whether some line of text has the pieces of want, in order.
func found(text, want string) bool {
	pieces := strings.Split(strings.TrimSpace(want), "…")
	for line := range strings.Lines(text) {
		rest, ok := strings.Join(strings.Fields(line), " "), true
		for _, p := range pieces {
			at := strings.Index(rest, strings.Join(strings.Fields(p), " "))
			if at < 0 {
				ok = false
				break
			}
			rest = rest[at+len(strings.Join(strings.Fields(p), " ")):]
		}
		if ok {
			return true
		}
	}
	return false
}
