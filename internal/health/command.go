package health

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
)

const (
	maxOutput    = 16 << 10 // of one attempt, into the log
	maxLines     = 100
	commandTime  = time.Minute
	commandGrace = 2 * time.Second
)

// Command runs a program that the operator declared, once, for the checker's
// subject; exit status 0 is success.
func (c *Checker) Command(ctx context.Context, name string, log Logf) error {
	return c.command(ctx, name, log)
}

// command runs a declared program once; exit status 0 is healthy.
func (c *Checker) command(ctx context.Context, name string, log Logf) error {
	spec, ok := c.Commands[name]
	if !ok || spec == nil || len(spec.Args) == 0 {
		return driver.Permanent(fmt.Errorf("command %q is not declared in server.yaml", name))
	}
	if spec.On == config.OnHost {
		return c.onHost(ctx, name, spec, log)
	}
	env, secrets, err := c.environ(ctx, spec)
	if err != nil {
		return err
	}
	args := spec.Args
	if s := c.Subject; s != nil {
		args = spec.ForScope(s.Target, s.Host)
		env = append(env, s.environ()...)
	}
	limit := cmp.Or(max(spec.Timeout, 0), commandTime)
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out := &capped{left: maxOutput + longest(secrets)}
	cmd := exec.CommandContext(inner, args[0], args[1:]...)
	cmd.Env, cmd.Dir = env, c.dir(spec.Dir)
	cmd.Stdout, cmd.Stderr = out, out
	// The program's own children are in its group and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = commandGrace
	err = cmd.Run()
	_ = killGroup(cmd)
	logOutput(name, out, secrets, log)
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		return nil
	case inner.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("did not end within %s", limit)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return fmt.Errorf("ended with %s", exit.ProcessState)
	}
	return driver.Permanent(fmt.Errorf("could not be started: %w", err))
}

// dir is where a command runs: beside server.yaml, unless it says otherwise.
func (c *Checker) dir(d string) string {
	if filepath.IsAbs(d) {
		return d
	}
	return filepath.Join(c.Dir, d)
}

// environ resolves the variables that the program gets: those declared, and
// no other. It is never nil, because nil would mean trueup's own.
func (c *Checker) environ(ctx context.Context, spec *config.Command) (env, secrets []string, err error) {
	env = []string{}
	for k, ref := range spec.Env {
		v, err := c.Secrets.Resolve(ctx, ref)
		if err != nil {
			return nil, nil, fmt.Errorf("variable %s: %w", k, err)
		}
		env = append(env, k+"="+v.Reveal())
		for _, s := range append([]string{v.Reveal()}, strings.Split(v.Reveal(), "\n")...) {
			if s = strings.TrimSpace(s); s != "" {
				secrets = append(secrets, s)
			}
		}
	}
	slices.Sort(env)
	// The longest first, so that a secret inside another leaves no rest.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return env, secrets, nil
}

func killGroup(cmd *exec.Cmd) error {
	if cmd.Process == nil {
		return nil
	}
	return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// logOutput logs what the program wrote, masked, then cut: the other way round
// the cut could leave the beginning of a secret.
func logOutput(name string, out *capped, secrets []string, log Logf) {
	text, cut := out.text()
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	if cut {
		text = withoutBeginning(text, secrets)
	}
	if len(text) > maxOutput {
		text, cut = text[:maxOutput], true
	}
	lines := strings.Split(strings.TrimRight(strings.ToValidUTF8(text, "?"), "\n"), "\n")
	if len(lines) > maxLines {
		lines, cut = lines[:maxLines], true
	}
	for _, l := range lines {
		if l != "" {
			log("%s: %s", name, printable(l))
		}
	}
	if cut {
		log("%s: (further output left out)", name)
	}
}

// withoutBeginning drops the beginning of a secret that the cap cut in two.
func withoutBeginning(text string, secrets []string) string {
	drop := 0
	for _, s := range secrets {
		for n := min(len(s)-1, len(text)); n > drop; n-- {
			if strings.HasSuffix(text, s[:n]) {
				drop = n
			}
		}
	}
	return text[:len(text)-drop]
}

// printable drops control characters, which could forge lines on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func longest(s []string) int {
	n := 0
	for _, x := range s {
		n = max(n, len(x))
	}
	return n
}

// capped keeps the first bytes and takes the rest without keeping it.
type capped struct {
	mu   sync.Mutex
	b    bytes.Buffer
	left int
	cut  bool
}

// Write never fails, so that the program is not stopped by its own output.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(p), c.left)
	c.b.Write(p[:n])
	c.left -= n
	c.cut = c.cut || n < len(p)
	return len(p), nil
}

func (c *capped) text() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String(), c.cut
}
