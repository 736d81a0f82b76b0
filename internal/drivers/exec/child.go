package exec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxOutput = 64 << 20 // of what is read as JSON
	maxLine   = 4 << 10
	tailLines = 20
)

// owner is the account that commands run as.
type owner struct{ uid, gid uint32 }

func lookupOwner(n string) (*owner, error) {
	if n == "" {
		return nil, nil
	}
	u, err := user.Lookup(n)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 && uint64(os.Geteuid()) != uid {
		return nil, fmt.Errorf("trueup is not root and can't run programs as %s", n)
	}
	return &owner{uint32(uid), uint32(gid)}, nil
}

// ran is how a command went.
type ran struct {
	out    []byte
	tail   string // the last lines it printed, scrubbed
	status int
}

// failure words a status that is no success.
func (r ran) failure(cmd string) error {
	if r.tail == "" {
		return fmt.Errorf("%s ended with status %d", cmd, r.status)
	}
	return fmt.Errorf("%s ended with status %d: %s", cmd, r.status, r.tail)
}

// run runs a command of the environment to its end. With log every line goes
// there; without it standard output is kept. The error is for what kept it from
// ending by itself; a status is the caller's to judge.
func (w *work) run(ctx context.Context, cmd string, log func(string)) (ran, error) {
	type result struct {
		r   ran
		err error
	}
	done := make(chan result, 1)
	go func() {
		// The program is killed when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := w.start(ctx, cmd, log)
		done <- result{r, err}
	}()
	res := <-done
	return res.r, res.err
}

func (w *work) start(ctx context.Context, cmd string, log func(string)) (ran, error) {
	if err := ctx.Err(); err != nil {
		return ran{}, err
	}
	limit := w.s.connect.Timeout
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := w.args(w.s.connect.command(cmd))
	c := osexec.Command(args[0], args[1:]...)
	c.Dir, c.Env = w.dir(), w.environ(cmd)
	ownGroup(c, w.s.owner)
	c.WaitDelay = 2 * time.Second
	lines := &liner{scrub: w.scrub, log: log}
	out := &bounded{left: maxOutput}
	c.Stdout, c.Stderr = io.Writer(out), lines
	second := &liner{scrub: w.scrub, log: log, shared: lines}
	if log != nil {
		c.Stdout = second
	}
	if err := c.Start(); err != nil {
		return ran{}, fmt.Errorf("%s: %w", cmd, err)
	}
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		stopOn(timed, c.Process.Pid, ended)
	}()
	err := c.Wait()
	close(ended)
	<-watched
	// What the program left running is of no use to anybody.
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	lines.end()
	second.end()
	r := ran{out: out.text.Bytes(), tail: lines.tail(), status: c.ProcessState.ExitCode()}
	var exit *osexec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s was stopped: %w", cmd, ctx.Err())
	case timed.Err() != nil:
		return r, fmt.Errorf("%s did not end within %s: %s", cmd, limit, r.tail)
	case out.left < 0:
		return r, fmt.Errorf("%s printed more than %d bytes", cmd, maxOutput)
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, osexec.ErrWaitDelay):
		return r, fmt.Errorf("%s: %w", cmd, err)
	case r.status < 0:
		return r, fmt.Errorf("%s was killed (%s): %s", cmd, c.ProcessState, r.tail)
	}
	return r, nil
}

// stopOn stops a process group when the context ends: it is interrupted,
// asked to terminate, and killed at the end.
func stopOn(ctx context.Context, pid int, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, killAfter * 3 / 4}, {syscall.SIGTERM, killAfter / 4}} {
		_ = syscall.Kill(-pid, step.sig)
		select {
		case <-ended:
			return
		case <-time.After(step.wait):
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// bounded keeps so many bytes; what comes after them is counted and dropped, so
// that the program can end.
type bounded struct {
	text bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left >= 0 {
		return b.text.Write(p)
	}
	return len(p), nil
}

// liner takes output apart into lines, scrubs them, hands them on and keeps the
// last ones. Two of them may share what they keep.
type liner struct {
	scrub  *scrubber
	log    func(string)
	shared *liner

	mu   sync.Mutex
	part []byte
	last []string
}

func (l *liner) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexAny(p, "\n\r")
		if i < 0 {
			break
		}
		l.line(append(l.part, p[:i]...))
		l.part, p = nil, p[i+1:]
	}
	if l.part = append(l.part, p...); len(l.part) > 16*maxLine {
		l.line(l.part)
		l.part = nil
	}
	return n, nil
}

func (l *liner) end() {
	if len(l.part) > 0 {
		l.line(l.part)
		l.part = nil
	}
}

func (l *liner) line(raw []byte) {
	text := l.scrub.text(strings.ToValidUTF8(string(raw), "�"))
	text = strings.TrimRight(clean(text), " \t")
	if text == "" {
		return
	}
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	keep := l
	if l.shared != nil {
		keep = l.shared
	}
	keep.mu.Lock()
	keep.last = append(keep.last, text)
	if len(keep.last) > tailLines {
		keep.last = keep.last[1:]
	}
	keep.mu.Unlock()
	if l.log != nil {
		l.log(text)
	}
}

func (l *liner) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}

// clean drops control characters: colours, and what could move a cursor.
func clean(t string) string {
	var b strings.Builder
	r := bufio.NewReader(strings.NewReader(t))
	for {
		c, _, err := r.ReadRune()
		if err != nil {
			return b.String()
		}
		switch {
		case c == 0x1b: // a sequence ends with a letter
			if next, _, err := r.ReadRune(); err == nil && next == '[' {
				for c, _, err = r.ReadRune(); err == nil && (c < '@' || c > '~'); c, _, err = r.ReadRune() {
				}
			}
		case c < ' ' && c != '\t' || c == 0x7f:
		default:
			b.WriteRune(c)
		}
	}
}
