package git

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// gcTimeout bounds one gc.
const gcTimeout = 30 * time.Minute

// GC packs what the mirror holds and drops what nothing leads to. A mirror
// that is still larger than its limit is made anew from the server, without
// the blobs that were read.
func (m *Mirror) GC(ctx context.Context) error {
	lock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := clearStale(m.gitDir()); err != nil {
		return err
	}
	if err := m.gc(ctx, lock); err != nil {
		return m.noticed(err)
	}
	size, err := m.Size()
	if err != nil || size <= m.limits.Disk {
		return err
	}
	return m.rebuild(ctx, lock)
}

func (m *Mirror) gc(ctx context.Context, lock *os.File) error {
	c := command{dir: m.gitDir(), args: []string{"gc", "--quiet", "--prune=now", "--force"}, files: []*os.File{lock}}
	if m.remote.kind != overLocal {
		c.config = promisor
	}
	_, err := c.output(ctx, gcTimeout)
	m.repo.batch.close() // it may hold packs that are gone
	return err
}

// Size gives the bytes that the mirror takes on disk.
func (m *Mirror) Size() (int64, error) {
	var n int64
	err := filepath.WalkDir(m.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				n += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return n, err
}

func (m *Mirror) packs() int {
	packs, _ := filepath.Glob(filepath.Join(m.gitDir(), "objects/pack/*.pack"))
	return len(packs)
}
