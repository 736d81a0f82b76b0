package git

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// state is what a mirror remembers beside the repository, so that it outlives
// a repository that is made anew.
type state struct {
	// Accepted is the last revision that passed the policies, by what was
	// followed.
	Accepted map[string]accepted `json:"accepted,omitempty"`
}

type accepted struct {
	Commit string `json:"commit"`
	Tag    string `json:"tag,omitempty"`
}

func (m *Mirror) statePath() string { return filepath.Join(m.dir, "state.json") }

// loadState reads what was remembered. A file that can't be parsed is an
// error: to forget it would be to forget which history was accepted.
func (m *Mirror) loadState() (state, error) {
	var s state
	b, err := os.ReadFile(m.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", m.statePath(), err)
	}
	return s, nil
}

func (m *Mirror) saveState(s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(m.statePath(), b)
}

// writeFile replaces a file so that a crash leaves the old or the new one.
func writeFile(name string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// lock takes the mirror for writing, against other goroutines and processes.
// The file is inherited by git, so that the lock lasts until the last child of
// a killed trueup is gone.
func (m *Mirror) lock(ctx context.Context) (*os.File, error) {
	return flock(ctx, filepath.Join(m.dir, "lock"))
}

// flock takes an exclusive lock on a file, waiting until the context ends.
func flock(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := 2 * time.Millisecond; ; wait = min(wait*2, 100*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", name, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// clearStale removes what a killed git left behind. Only with the lock held:
// nobody else writes then, so every lock file is stale.
func clearStale(repo string) error {
	return filepath.WalkDir(repo, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if filepath.Dir(p) == filepath.Join(repo, "objects") && len(name) == 2 {
				return fs.SkipDir // loose objects: gc sees to them
			}
			if strings.HasPrefix(name, "tmp_objdir-") {
				return errors.Join(os.RemoveAll(p), fs.SkipDir)
			}
			return nil
		}
		if strings.HasSuffix(name, ".lock") || name == "gc.pid" || strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") {
			return os.Remove(p)
		}
		return nil
	})
}
