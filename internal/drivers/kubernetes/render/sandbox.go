package render

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// Templates and programs of a repository may loop for ever or grow without
// end, and Go can't stop a goroutine. So they are evaluated in a process of
// their own: this very program once more, without an environment, which asks
// for every file through a pipe and is killed when it takes too long.

// childName is the name under which the program evaluates instead of whatever
// else it does.
const childName = "trueup-render"

// Limits of a child. Tests lower them.
var (
	maxTime         = 60 * time.Second
	maxMemory int64 = 1 << 30
	maxAnswer int64 = 96 << 20
)

// children bounds how many run at once.
var children = make(chan struct{}, max(2, runtime.NumCPU()))

// sandboxed renders in a child.
func (r *run) sandboxed(format Format) error {
	select {
	case children <- struct{}{}:
		defer func() { <-children }()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	c, err := startChild(ctx)
	if err != nil {
		return fmt.Errorf("the process that renders can't be started: %w", err)
	}
	c.clock = &clock{left: maxTime, end: cancel}
	c.clock.run()
	defer c.clock.pause()
	err = c.serve(r, format)
	return r.ended(ctx, c, c.stop(err))
}

// ended tells apart why a child came to its end.
func (r *run) ended(ctx context.Context, c *child, err error) error {
	text := c.said.String()
	switch {
	case c.failed != nil && r.ctx.Err() == nil: // also when a template took it for a mistake of its own
		return c.failed
	case err == nil:
		return nil
	case r.ctx.Err() != nil:
		return r.ctx.Err()
	case ctx.Err() != nil:
		return r.refuse(fmt.Sprintf("it was not done after %s", maxTime), "a template that loops without end?")
	case c.tooLarge, strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"), strings.Contains(text, memoryWord):
		return r.refuse(fmt.Sprintf("it needs more than %d MiB", maxMemory>>20), "a template that grows without end? Otherwise split the target")
	case strings.Contains(text, "stack overflow"), strings.Contains(text, "stack exceeds"):
		return r.refuse("it calls itself without end", "")
	}
	return fmt.Errorf("the process that renders ended: %w (%s)", err, strings.TrimSpace(text))
}

func (r *run) refuse(text, mend string) error {
	return &badFile{plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: r.in.Path}, Message: "rendering was stopped: " + text, Mend: mend}}
}

// child is a running child.
type child struct {
	cmd      *exec.Cmd
	to       io.WriteCloser
	enc      *gob.Encoder
	dec      *gob.Decoder
	said     *tail
	failed   error // what kept a file from being read, which no commit can mend
	tooLarge bool
	clock    *clock
}

// clock ends a child that takes too long. What others take meanwhile, the
// network above all, doesn't count.
type clock struct {
	left  time.Duration
	since time.Time
	timer *time.Timer
	end   func()
}

func (c *clock) run() {
	c.since = time.Now()
	c.timer = time.AfterFunc(max(c.left, time.Millisecond), c.end)
}

func (c *clock) pause() {
	c.timer.Stop()
	c.left -= time.Since(c.since)
}

func startChild(ctx context.Context) (*child, error) {
	self, err := ownProgram()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = []string{childName, fmt.Sprint(maxMemory)}
	cmd.Env, cmd.Dir = []string{"GOMAXPROCS=1"}, "/"
	cmd.WaitDelay = 5 * time.Second
	alone(cmd)
	c := &child{cmd: cmd, said: &tail{}}
	cmd.Stderr = c.said
	if c.to, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.enc, c.dec = gob.NewEncoder(c.to), gob.NewDecoder(&counted{r: from, c: c})
	return c, cmd.Start()
}

func (c *child) stop(err error) error {
	_ = c.to.Close()
	if err != nil {
		_ = c.cmd.Process.Kill()
	}
	return errors.Join(err, c.cmd.Wait())
}

// counted bounds what a child may say.
type counted struct {
	r io.Reader
	n int64
	c *child
}

// Read reads more, within the limit.
func (r *counted) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.n += int64(n); r.n > maxAnswer {
		r.c.tooLarge = true
		return 0, errors.New("the answer is too large")
	}
	return n, err
}

// tail keeps the beginning of what a child says before it dies: Go gives the
// reason first.
type tail struct{ bytes.Buffer }

// Write keeps what there is room for.
func (t *tail) Write(p []byte) (int, error) {
	if room := 4096 - t.Len(); room > 0 {
		t.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func ownProgram() (string, error) {
	if runtime.GOOS == "linux" { // also when the file was replaced by a newer one
		return "/proc/self/exe", nil
	}
	return os.Executable()
}
