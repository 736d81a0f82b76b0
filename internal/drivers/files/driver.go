// Package files is the driver for a local directory: it makes files, symbolic
// links and the directories they need equal to a tree in Git. It never leaves
// the directory it is given, never follows a link inside it, and leaves alone
// what it does not own. See docs/drivers/files.md.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"trueup.dev/trueup/internal/driver"
)

// New makes the driver.
func New() driver.Driver { return &filesDriver{} }

type filesDriver struct{}

// Info describes the driver.
func (*filesDriver) Info() driver.Info {
	return driver.Info{
		Name:    "files",
		Summary: "a local directory",
		Version: "1",
		Spec:    func() any { return &Spec{} },
		Scope:   func() driver.ScopeSpec { return &Scope{} },
		Connect: func() any { return &Connect{} },
		// A batch of files is written and synced; then a cancelled apply ends.
		StopGrace: 15 * time.Second,
		Fingerprint: "size, times, inode, mode and owner of every file concerned; an edit that keeps size, " +
			"modification time and change time (a clock set back) is not seen",
		ExactEvery: 6 * time.Hour,
	}
}

// Open opens the root directory.
func (*filesDriver) Open(_ context.Context, env driver.Environment, purpose driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("files: connect is a %T", env.Connect))
	}
	if err := c.Validate().Err(); err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: connect: %w", env.Name, err))
	}
	p, err := openPlace(filepath.Clean(c.Root))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A root that is not there is not an empty root: it may be a disk that
		// is not mounted yet.
		return nil, fmt.Errorf("environment %s: root: %w: %w", env.Name, driver.ErrUnreachable, err)
	case err != nil:
		return nil, fmt.Errorf("environment %s: root: %w", env.Name, err)
	}
	return &session{place: p, purpose: purpose, key: env.HashKey}, nil
}
