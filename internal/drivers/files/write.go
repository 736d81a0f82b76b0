package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
)

// Put writes one object: under a name of its own first, then in one move to
// its place, so that a reader sees the old content or the new, whole.
func (s *set) Put(ctx context.Context, it, old item) error {
	dir, name := parentOf(string(it.Address))
	at, err := s.place.enter(dir, true)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := unchanged(at, name, old); err != nil {
		return err
	}
	s.sweep(at, dir)
	switch it.Kind {
	case kindDir:
		return s.putDir(at, name, it, old)
	case kindSymlink:
		return s.putLink(at, name, it, old)
	}
	return s.putFile(ctx, at, name, it, old)
}

// unchanged makes sure that what is about to be overwritten is still what was
// planned for.
func unchanged(at *os.Root, name string, old item) error {
	info, err := at.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if old.Value != nil {
			return fmt.Errorf("%s was removed meanwhile: %w", name, driver.ErrStale)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if old.Value == nil || kindOf(info.Mode()) != old.Kind ||
		old.Kind != kindDir && stampOf(info) != old.Value.Stamp {
		return fmt.Errorf("%s was changed meanwhile: %w", name, driver.ErrStale)
	}
	return nil
}

func (s *set) putDir(at *os.Root, name string, it, old item) error {
	if old.Value != nil && old.Kind != kindDir {
		if err := at.Remove(name); err != nil {
			return err
		}
		old.Value = nil
	}
	if old.Value == nil {
		if err := at.Mkdir(name, 0o700); err != nil {
			return exists(name, err)
		}
	}
	sub, err := s.place.enter(string(it.Address), true)
	if err != nil {
		return err
	}
	defer sub.Close()
	f, err := sub.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(it.Value.Mode); err != nil {
		return err
	}
	return f.Sync()
}

func (s *set) putLink(at *os.Root, name string, it, old item) error {
	temp := tempName()
	if err := at.Symlink(it.Value.Link, temp); err != nil {
		return err
	}
	if o := it.Value.Owner; o != nil {
		if err := at.Lchown(temp, o.uid, o.gid); err != nil {
			return errors.Join(err, at.Remove(temp))
		}
	}
	return move(at, temp, name, old)
}

func (s *set) putFile(ctx context.Context, at *os.Root, name string, it, old item) error {
	temp := tempName()
	f, err := at.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = s.fill(ctx, f, it.Value)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, at.Remove(temp))
	}
	return move(at, temp, name, old)
}

// fill writes content, owner and mode, in this order: a change of owner
// clears bits of the mode.
func (s *set) fill(ctx context.Context, f *os.File, e *entry) error {
	if err := lockFile(f); err != nil {
		return err
	}
	body, err := e.content(s.in)
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	if _, err := copyAll(io.MultiWriter(f, h), stoppable{ctx, body}); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != e.Sum {
		return fmt.Errorf("%s reads differently than it was planned: %w", e.From, driver.ErrStale)
	}
	if e.Owner != nil {
		if err := f.Chown(e.Owner.uid, e.Owner.gid); err != nil {
			return err
		}
	}
	if err := f.Chmod(e.Mode); err != nil {
		return err
	}
	return f.Sync()
}

// move puts a finished temporary object in its place. A new one goes there by
// a hard link, which fails where something appeared meanwhile.
func move(at *os.Root, temp, name string, old item) error {
	if old.Value != nil {
		if old.Kind == kindDir {
			if err := at.Remove(name); err != nil {
				return errors.Join(err, at.Remove(temp))
			}
		}
		if err := at.Rename(temp, name); err != nil {
			return errors.Join(err, at.Remove(temp))
		}
		return nil
	}
	err := at.Link(temp, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return errors.Join(exists(name, err), at.Remove(temp))
	}
	// The file system has no hard links.
	if _, missing := at.Lstat(name); !errors.Is(missing, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s: %w", name, driver.ErrStale), at.Remove(temp))
	}
	if err := at.Rename(temp, name); err != nil {
		return errors.Join(err, at.Remove(temp))
	}
	return nil
}

func exists(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s appeared meanwhile: %w", name, driver.ErrStale)
	}
	return err
}

// Remove deletes one object. A directory goes only when it is empty.
func (s *set) Remove(_ context.Context, old item) error {
	dir, name := parentOf(string(old.Address))
	at, err := s.place.enter(dir, true)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	if _, err := at.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := unchanged(at, name, old); err != nil {
		return err
	}
	if err := at.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func tempName() string { return tempPrefix + rand.Text() }

// Rename writes the new path and removes the old one. The content may change
// on the way, and so may the directory, so it is no plain move.
func (s *set) Rename(ctx context.Context, it, old item) error {
	if err := s.Put(ctx, it, item{}); err != nil {
		return err
	}
	if err := s.Remove(ctx, old); err != nil {
		return fmt.Errorf("%w: %s is written, but %s is still there: %w", setplan.ErrUnknown, it.Address, old.Address, err)
	}
	return nil
}

// stoppable is a reader that ends with its context. Nothing has been moved to
// its place by then.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (r stoppable) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
	}
	return r.Reader.Read(p)
}
