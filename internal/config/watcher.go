package config

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// settle is how long a file must be left alone before it is read: editors
// write in several steps.
const settle = 200 * time.Millisecond

// Watcher reads the operator's configuration again when its file changes, or
// on request. Only the file itself is watched, not what it refers to.
type Watcher struct {
	path    string
	drivers driver.Registry
	apply   func(*Server, plan.Diagnostics)
	fs      *fsnotify.Watcher

	mu     sync.Mutex // one load at a time, and apply in order
	digest string
}

// NewWatcher watches a configuration file. After every change, apply gets the
// new configuration, or nil and what is wrong with it: then the old one stays
// in force. The current digest keeps a file that was only touched from being
// applied again.
func NewWatcher(path string, current *Server, drivers driver.Registry, apply func(*Server, plan.Diagnostics)) (*Watcher, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	// The directory is watched, because an editor or a mounted volume replaces
	// the file by renaming another one over it.
	if err := fs.Add(filepath.Dir(abs)); err != nil {
		fs.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &Watcher{path: abs, drivers: drivers, apply: apply, fs: fs}
	if current != nil {
		w.digest = current.Digest
	}
	return w, nil
}

// Run watches until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.fs.Close()
	timer := time.NewTimer(settle)
	defer timer.Stop() // the first look is for a change before the watch began
	real := w.target()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			w.load(false)
		case ev, ok := <-w.fs.Events:
			if !ok {
				return nil
			}
			// A mounted volume swaps a symbolic link beside the file, so the
			// file's own name may never show up.
			now := w.target()
			if filepath.Clean(ev.Name) != w.path && now == real {
				continue
			}
			real = now
			timer.Reset(settle)
		case _, ok := <-w.fs.Errors:
			if !ok {
				return nil
			}
			// Events may have been lost: look at the file itself.
			timer.Reset(settle)
		}
	}
}

// target is where the path leads through symbolic links.
func (w *Watcher) target() string {
	p, err := filepath.EvalSymlinks(w.path)
	if err != nil {
		return ""
	}
	return p
}

// Reload reads the file now, whether it changed or not (SIGHUP).
func (w *Watcher) Reload() { w.load(true) }

func (w *Watcher) load(always bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, diags := LoadServer(w.path, w.drivers)
	switch {
	case s == nil:
		w.digest = "" // putting the old text back is worth telling
	case s.Digest == w.digest && !always:
		return
	default:
		w.digest = s.Digest
	}
	w.apply(s, diags)
}
