package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	xssh "golang.org/x/crypto/ssh"

	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
)

// transport runs shell scripts on one host, as the user who may change it.
type transport interface {
	// run runs a script to its end. Nothing is written to out after it has
	// returned. It gives *exitError for a status other than 0, and wraps
	// driver.ErrUnreachable where the host was lost.
	run(ctx context.Context, script string, in io.Reader, out io.Writer) error
	// identity gives what the host showed when it was connected to, "" if it
	// shows nothing.
	identity() string
}

// exitError says that a script ended with another status than 0.
type exitError struct {
	status int
	stderr string
}

func (e *exitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return fmt.Sprintf("exit status %d: %s", e.status, e.stderr)
}

// remote is a host over SSH.
type remote struct {
	pool   *client.Pool
	target *client.Target
	sudo   *client.Sudo
	shown  string
	near   bool
	// keys are what logs in.
	keys []xssh.PublicKey
}

func (r *remote) run(ctx context.Context, script string, in io.Reader, out io.Writer) error {
	conn, err := r.pool.Get(ctx, r.target)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotBegun, err)
	}
	r.shown, r.near, r.keys = conn.HostKey(), conn.Near(), conn.Keys()
	err = r.pool.Run(ctx, r.target, client.Command{Script: script, Sudo: r.sudo, Stdin: in, Stdout: out})
	var exit *client.ExitError
	if errors.As(err, &exit) && !errors.Is(err, client.ErrSudo) {
		return &exitError{exit.Status, exit.Stderr}
	}
	return err
}

func (r *remote) identity() string { return r.shown }

// errNotBegun says that nothing was sent to the host.
var errNotBegun = errors.New("the host was not reached")

// local is this very machine: what an agent works on.
type local struct {
	// shell is the program that takes -c and a script; /bin/sh by default.
	shell []string
}

func (l *local) run(ctx context.Context, script string, in io.Reader, out io.Writer) error {
	shell := l.shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh"}
	}
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:len(shell):len(shell)], "-c", script)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &limitedBuffer{Buffer: &stderr, left: 4 << 10}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return &exitError{exit.ExitCode(), stderr.String()}
	case err != nil:
		return fmt.Errorf("%w: %w: %w", errNotBegun, driver.ErrUnreachable, err)
	}
	return nil
}

func (*local) identity() string { return "" }

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct {
	*bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	keep := p[:min(len(p), b.left)]
	b.left -= len(keep)
	b.Buffer.Write(keep)
	return len(p), nil
}
