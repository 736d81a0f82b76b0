package ssh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/secret"
)

// Command is something to run on a host. Give Script or Argv.
type Command struct {
	// Script is text for /bin/sh. It stands in the process list of the host:
	// secrets go through Stdin.
	Script string
	// Argv is a program with its arguments, run without a shell of its own.
	Argv []string
	// Sudo runs it as another user; nil runs it as the one who logged in.
	Sudo *Sudo
	// Stdin is copied to the command. Where it is an io.Closer it is closed
	// when the command has ended, which ends a Read that still waits.
	Stdin io.Reader
	// Stdout takes the command's output; nil drops it. Nothing is written to it
	// after Run has returned.
	Stdout io.Writer
}

// Sudo is how to become another user.
type Sudo struct {
	User string // root by default
	// Password answers sudo's question; without one sudo must not ask.
	Password secret.Value
}

// ExitError says that a command ended with another status than 0.
type ExitError struct {
	Host   string
	Status int
	Signal string // the signal that ended it, without SIG
	// Stderr is the beginning of what it said.
	Stderr string
}

// Error gives status and words.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		how = "ended by signal " + e.Signal
	}
	if e.Stderr == "" {
		return fmt.Sprintf("%s: %s", e.Host, how)
	}
	return fmt.Sprintf("%s: %s: %s", e.Host, how, e.Stderr)
}

// ErrSudo says that sudo did not let us become the other user.
var ErrSudo = errors.New("sudo")

// killGrace is how long a cancelled command may take to end.
const killGrace = 5 * time.Second

// Run runs a command to its end. The error is nil for status 0, an *ExitError
// for another one, and wraps driver.ErrUnreachable where the connection was
// lost. When the context ends, the command and its children are ended on the
// host before Run returns, as far as the host still answers.
func (c *Conn) Run(ctx context.Context, cmd Command) error {
	if closer, ok := cmd.Stdin.(io.Closer); ok {
		defer closer.Close()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s, done, err := c.session(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer s.Close()
	r := &running{conn: c, cmd: &cmd, session: s, nonce: rand.Text()}
	return r.run(ctx)
}

// running is one command under way.
type running struct {
	conn    *Conn
	cmd     *Command
	session *ssh.Session
	nonce   string
	errs    *stderr
}

func (r *running) run(ctx context.Context) error {
	out := &gate{w: r.cmd.Stdout}
	defer out.shut()
	r.session.Stdout = out
	r.errs = newStderr(r.nonce)
	r.session.Stderr = r.errs
	in, err := r.session.StdinPipe()
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() { started <- r.session.Start(r.line()) }()
	select {
	case err = <-started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil {
		return r.conn.lost(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.session.Wait() }()
	if err := r.becomeRoot(ctx, in, ended); err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() { copied <- feed(in, r.cmd.Stdin) }()
	select {
	case err = <-ended:
		return r.result(err, copied)
	case <-ctx.Done():
		r.kill(ended)
		return ctx.Err()
	}
}

// gate lets nothing through once a command's Run has returned.
type gate struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

// Write passes a piece on.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return 0, io.ErrClosedPipe
	case g.w == nil:
		return len(p), nil
	}
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func feed(in io.WriteCloser, from io.Reader) error {
	var err error
	if from != nil {
		buf := make([]byte, 64<<10)
		_, err = io.CopyBuffer(in, onlyReader{from}, buf)
	}
	if e := in.Close(); err == nil && !errors.Is(e, io.EOF) {
		err = e
	}
	return err
}

type onlyReader struct{ io.Reader }

// result words the end of a command. A source that broke off is an error even
// if the command did not mind.
func (r *running) result(err error, copied <-chan error) error {
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case err == nil:
		select {
		case e := <-copied:
			if e != nil && !errors.Is(e, io.EOF) {
				return fmt.Errorf("%s: input: %w", r.conn.target, e)
			}
		default:
		}
		return nil
	case errors.As(err, &exit):
		e := &ExitError{Host: r.conn.target.Name, Status: exit.ExitStatus(), Signal: exit.Signal(), Stderr: r.errs.text()}
		if r.cmd.Sudo != nil && strings.HasPrefix(e.Stderr, "sudo: ") {
			return fmt.Errorf("%w: %w", ErrSudo, e)
		}
		return e
	case errors.As(err, &missing):
		return r.conn.lost(errors.New("the command's end is not known"))
	}
	return r.conn.lost(err)
}

// kill ends the command on the host: by our own hand, because a host may not
// pass signals on, and sshd must not end what runs as another user.
func (r *running) kill(ended <-chan error) {
	_ = r.session.Signal(ssh.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	if who := r.errs.process(); who != "" {
		script := fmt.Sprintf("kill -TERM %[1]s 2>/dev/null; n=0; while kill -0 %[1]s 2>/dev/null; do n=$((n+1)); "+
			"if [ $n -gt 2 ]; then kill -KILL %[1]s 2>/dev/null; exit 0; fi; sleep 1; done", who)
		_ = r.conn.Run(ctx, Command{Script: script, Sudo: r.cmd.Sudo})
	}
	_ = r.session.Close()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// becomeRoot answers sudo's question. It returns when the command runs.
func (r *running) becomeRoot(ctx context.Context, in io.Writer, ended chan error) error {
	if r.cmd.Sudo == nil || r.cmd.Sudo.Password.Empty() {
		return nil
	}
	asked := 0
	for {
		select {
		case <-r.errs.started:
			return nil
		case <-r.errs.asked:
			if asked++; asked > 1 {
				_ = r.session.Close()
				return fmt.Errorf("%s: %w: the password was refused", r.conn.target, ErrSudo)
			}
			if _, err := io.WriteString(in, r.cmd.Sudo.Password.Reveal()+"\n"); err != nil {
				return r.conn.lost(err)
			}
		case err := <-ended:
			if err == nil {
				err = errors.New("the command ended before it began")
			}
			ended <- err
			return r.result(err, nil)
		case <-ctx.Done():
			_ = r.session.Close()
			return ctx.Err()
		}
	}
}
