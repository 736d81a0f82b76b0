package git

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/source"
)

// batchIdle is how long an unused cat-file process is kept.
const batchIdle = time.Minute

// object is what cat-file gave.
type object struct {
	id   string
	kind string // "" means missing
	body []byte
}

// batch is one long-lived `git cat-file --batch`, started when needed. It is
// safe for concurrent use.
type batch struct {
	dir  string
	conf [][2]string

	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	stat  os.FileInfo // of the repository when the process began
	idle  *time.Timer
	grave *capped // what the process said on stderr
}

// read gives the objects in the order asked for. It stops at the first that
// is larger than limit.
func (b *batch) read(ctx context.Context, limit int64, names ...string) ([]object, error) {
	for _, n := range names {
		if strings.ContainsAny(n, "\n\r\x00") || strings.HasPrefix(n, "-") || n == "" {
			return nil, fmt.Errorf("%q is not the name of an object", n)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = killGroup(b.cmd) })
	out, err := b.exchange(limit, names)
	if !stop() || err != nil {
		said := b.grave.buf.String()
		b.stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if said != "" {
			err = newError("cat-file", err, said)
		}
		return nil, err
	}
	b.idle = time.AfterFunc(batchIdle, b.close)
	return out, nil
}

func (b *batch) exchange(limit int64, names []string) ([]object, error) {
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(b.in, strings.Join(names, "\n")+"\n")
		wrote <- err
	}()
	out := make([]object, len(names))
	for i, n := range names {
		o, err := b.one(limit)
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", n, err)
		}
		out[i] = o
	}
	return out, <-wrote
}

// one reads the answer to one question.
func (b *batch) one(limit int64) (object, error) {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return object{}, fmt.Errorf("%w: cat-file ended: %w", source.ErrCorrupt, err)
	}
	f := strings.Fields(line)
	if len(f) >= 2 && (f[len(f)-1] == "missing" || f[len(f)-1] == "ambiguous") {
		return object{}, nil
	}
	if len(f) != 3 {
		return object{}, fmt.Errorf("%w: cat-file answered %q", source.ErrCorrupt, strings.TrimSpace(line))
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return object{}, err
	}
	if size > limit {
		return object{}, fmt.Errorf("%d bytes, the limit is %d: %w", size, limit, source.ErrTooLarge)
	}
	body := make([]byte, size+1)
	if _, err := io.ReadFull(b.out, body); err != nil {
		return object{}, fmt.Errorf("%w: cat-file ended: %w", source.ErrCorrupt, err)
	}
	return object{id: f[0], kind: f[1], body: body[:size:size]}, nil
}

// start starts the process, anew if the repository was replaced.
func (b *batch) start() error {
	if b.idle != nil {
		b.idle.Stop()
		b.idle = nil
	}
	st, err := os.Stat(b.dir)
	if err != nil {
		return fmt.Errorf("%w: %w", source.ErrCorrupt, err)
	}
	if b.cmd != nil && os.SameFile(st, b.stat) {
		return nil
	}
	b.stop()
	c := command{dir: b.dir, args: []string{"cat-file", "--batch"}, config: b.conf}
	cmd := c.cmd(context.Background())
	b.grave = &capped{max: maxStderr, quiet: true}
	cmd.Stderr = b.grave
	if b.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.cmd, b.out, b.stat = cmd, bufio.NewReaderSize(out, 64<<10), st
	return nil
}

func (b *batch) stop() {
	if b.cmd == nil {
		return
	}
	_ = b.in.Close()
	_ = killGroup(b.cmd)
	_ = b.cmd.Wait()
	b.cmd = nil
}

// close ends the process. The next read starts another.
func (b *batch) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
}
