package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command resolves "command:NAME" to what a program prints. It gets NAME as its
// last argument, an environment of its own, and is killed with all it started
// when its time is up.
type Command struct {
	Args    []string
	Dir     string
	Timeout time.Duration
	// Env gives the variables, NAME=value, when the program is started.
	Env func(ctx context.Context) ([]string, error)
}

// Resolve runs the program. One trailing line break of its output is cut off.
// What it writes to its standard error is not repeated: it may hold secrets.
func (c Command) Resolve(ctx context.Context, name string) (Value, error) {
	if name == "" || strings.HasPrefix(name, "-") {
		return Value{}, fmt.Errorf("%q is no name for a command: it would be taken for an option", name)
	}
	env, err := c.Env(ctx)
	if err != nil {
		return Value{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], append(append([]string{}, c.Args[1:]...), name)...)
	cmd.Dir, cmd.Env = c.Dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := &bounded{left: maxFile}
	cmd.Stdout = out
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return Value{}, fmt.Errorf("the command did not end within %s: %w", c.Timeout, ctx.Err())
	case out.left < 0:
		return Value{}, fmt.Errorf("the command printed more than %d bytes", maxFile)
	case err != nil:
		return Value{}, fmt.Errorf("the command failed: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(out.text.String(), "\n"), "\r")
	if text == "" {
		return Value{}, fmt.Errorf("the command printed nothing: %w", ErrNotFound)
	}
	return New(text), nil
}

// bounded takes so many bytes and then refuses. It does not embed the buffer,
// whose ReadFrom would go round the limit.
type bounded struct {
	text bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("too much output")
	}
	return b.text.Write(p)
}
