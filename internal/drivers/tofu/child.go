package tofu

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// searchPath is where the program and its providers find other programs, git
// first of all.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// How a program that is to stop is stopped: it is interrupted, asked again when
// it takes long, and killed with all it started at the end.
const (
	askAgainAfter = stopGrace * 3 / 4
	killAfter     = stopGrace * 11 / 12
)

// maxOutput bounds what is kept of a program's output.
const maxOutput = 256 << 20

// owner is the user that the program runs as.
type owner struct{ uid, gid uint32 }

func lookupOwner(name string) (*owner, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if _, nerr := strconv.ParseUint(name, 10, 32); nerr != nil {
			return nil, err
		}
		u = &user.User{Uid: name, Gid: name}
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
		return nil, fmt.Errorf("trueup is not root and can't run programs as %s", name)
	}
	return &owner{uint32(uid), uint32(gid)}, nil
}

// give makes a path the owner's.
func (o *owner) give(path string) error {
	if o == nil {
		return nil
	}
	return os.Lchown(path, int(o.uid), int(o.gid))
}

// giveAll makes a tree the owner's.
func (o *owner) giveAll(dir string) error {
	if o == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return o.give(p)
	})
}

// invocation is one run of the program.
type invocation struct {
	args  []string
	line  func([]byte) error // gets standard output by line; nil keeps it
	cache string             // the plug-in cache of an init
	// ok lists further exit statuses that are no error.
	ok []int
	// gentle interrupts first, for what writes; a reading is killed at once.
	gentle bool
}

// ran is how it went.
type ran struct {
	out    []byte
	stderr string
	status int
}

// exitError is a status other than those that are fine.
type exitError struct {
	args   string
	status int
	stderr string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ended with status %d: %s", e.args, e.status, e.stderr)
}

// start runs the program to its end. The goroutine keeps its thread, because
// one that only reads is killed when the thread that started it ends.
func (w *work) start(ctx context.Context, c invocation) (ran, error) {
	type result struct {
		r   ran
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := w.run(ctx, c)
		done <- result{r, err}
	}()
	res := <-done
	return res.r, w.scrub.err(res.err)
}

func (w *work) run(ctx context.Context, c invocation) (ran, error) {
	cmd := exec.Command(string(w.s.program), c.args...)
	cmd.Dir, cmd.Env = w.rootDir(), w.environ()
	if c.cache != "" {
		cmd.Env = append(cmd.Env, "TF_PLUGIN_CACHE_DIR="+c.cache)
	}
	cmd.ExtraFiles = []*os.File{w.lock} // the lock lasts as long as the program, also when we die
	ownProcess(cmd, w.s.owner, c.gentle)
	var stderr tail
	if !c.gentle {
		cmd.Stderr = &stderr
	}
	stdout, err := w.output(cmd, c)
	if err != nil {
		return ran{}, err
	}
	// A grandchild that keeps the pipe open must not keep us waiting.
	cmd.WaitDelay = 5 * time.Second
	if err := ctx.Err(); err != nil {
		return ran{}, context.Cause(ctx)
	}
	if err := cmd.Start(); err != nil {
		return ran{}, fmt.Errorf("%s: %w", w.s.program, err)
	}
	if f, ok := stdout.(*following); ok {
		err := make(chan error, 1)
		go func() { err <- cmd.Wait(); close(f.ended) }()
		return w.follow(ctx, cmd, c, f, err, &stderr)
	}
	stopped := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		stopOn(ctx, cmd.Process.Pid, c.gentle, stopped)
	}()
	out, lineErr := readOutput(stdout, c.line)
	err = cmd.Wait()
	close(stopped)
	<-watching
	// Providers end with the program; what has not is of no use to anybody.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	r := ran{out: out, stderr: stderr.String(), status: cmd.ProcessState.ExitCode()}
	return r, w.verdict(ctx, c, r, err, lineErr)
}

// follow reads a program's output from its file until it has ended.
func (w *work) follow(ctx context.Context, cmd *exec.Cmd, c invocation, f *following, waited <-chan error, stderr *tail) (ran, error) {
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		stopOn(ctx, cmd.Process.Pid, c.gentle, f.ended)
	}()
	_, lineErr := readOutput(f, c.line)
	err := <-waited
	<-watching
	_ = f.file.Close()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	r := ran{stderr: stderr.String(), status: cmd.ProcessState.ExitCode()}
	return r, w.verdict(ctx, c, r, err, lineErr)
}

// verdict tells what a run came to.
func (w *work) verdict(ctx context.Context, c invocation, r ran, err, lineErr error) error {
	if lineErr != nil {
		return lineErr
	}
	if err := ctx.Err(); err != nil && r.status != 0 {
		return fmt.Errorf("%s: %w", c.args[0], errors.Join(context.Cause(ctx), err))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		for _, status := range c.ok {
			if r.status == status {
				return nil
			}
		}
		return &exitError{args: c.args[0], status: r.status, stderr: r.stderr}
	}
	return err
}

// stopOn stops a process group when the context ends, politely first.
func stopOn(ctx context.Context, pid int, gentle bool, stopped <-chan struct{}) {
	select {
	case <-stopped:
		return
	case <-ctx.Done():
	}
	if !gentle {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return
	}
	// The program alone is told: it stops its providers itself.
	_ = syscall.Kill(pid, syscall.SIGINT)
	again, kill := time.NewTimer(askAgainAfter), time.NewTimer(killAfter)
	defer again.Stop()
	defer kill.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-again.C:
			_ = syscall.Kill(pid, syscall.SIGTERM)
		case <-kill.C:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			return
		}
	}
}

// readOutput gives lines to a function, or keeps all. After an error of the
// function the rest is read and dropped, so that the program never blocks.
func readOutput(r io.Reader, line func([]byte) error) ([]byte, error) {
	if line == nil {
		var b bytes.Buffer
		n, err := io.Copy(&b, io.LimitReader(r, maxOutput+1))
		if n > maxOutput {
			_, _ = io.Copy(io.Discard, r)
			return nil, fmt.Errorf("the program printed more than %d bytes", maxOutput)
		}
		return b.Bytes(), ignoreClosed(err)
	}
	var first error
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := readLine(br)
		if len(text) > 0 && first == nil {
			first = line(text)
		}
		if err != nil {
			return nil, first
		}
	}
}

// maxLine bounds one line of progress.
const maxLine = 4 << 20

func readLine(br *bufio.Reader) ([]byte, error) {
	var out []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(out)+len(part) <= maxLine {
			out = append(out, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(out), err
		}
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 16 << 10

// Write keeps the last 16 KiB.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.b)) }

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }
