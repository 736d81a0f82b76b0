package sftp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// batchSize is how many files are written between two entries of the journal.
const batchSize = 64

// The order of writes: what must make room goes first, from the bottom up;
// then directories from the top down; then everything in them; then deletes
// from the bottom up.
const (
	makeRoom = iota
	directories
	contents
	deletes
)

func rankOf(made map[string]bool, st step) int {
	switch {
	case st.New != nil && st.New.Kind == kindDir:
		return directories
	case st.New != nil:
		return contents
	case below(made, string(st.Change.Address)):
		return makeRoom
	}
	return deletes
}

func below(made map[string]bool, n string) bool {
	for i := range n {
		if n[i] == '/' && made[n[:i]] {
			return true
		}
	}
	return false
}

// Batches orders the writes and cuts them.
func (s *set) Batches(steps []step) [][]step {
	made := map[string]bool{}
	for i := range steps {
		if n := steps[i].New; n != nil && n.Kind != kindDir {
			made[string(n.Address)] = true
		}
	}
	ranked := map[int][]step{}
	for _, st := range steps {
		r := rankOf(made, st)
		ranked[r] = append(ranked[r], st)
	}
	var out [][]step
	for _, r := range []int{makeRoom, directories, contents, deletes} {
		list := ranked[r]
		slices.SortFunc(list, func(a, b step) int {
			n := strings.Compare(string(a.Change.Address), string(b.Change.Address))
			if r == makeRoom || r == deletes {
				return -n
			}
			return n
		})
		out = slices.AppendSeq(out, slices.Chunk(list, batchSize))
	}
	return out
}

// Write carries out one batch, each object by itself. Files are written side
// by side; directories and deletes go one after the other, in their order.
func (s *set) Write(ctx context.Context, batch []step) []error {
	errs := make([]error, len(batch))
	one := func(i int) error {
		if err := ctx.Err(); err != nil {
			errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
		} else {
			errs[i] = s.one(ctx, batch[i])
		}
		return nil
	}
	if batch[0].New == nil || batch[0].New.Kind == kindDir {
		for i := range batch {
			_ = one(i)
		}
		return errs
	}
	for i := range batch {
		errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, context.Canceled) // unless it is begun
	}
	_ = side(ctx, len(batch), one)
	return errs
}

func (s *set) one(ctx context.Context, st step) error {
	var old item
	if st.Old != nil {
		old = *st.Old
	}
	switch st.Change.Action {
	case plan.Delete:
		return s.Remove(ctx, old)
	case plan.Rename:
		// The content may change on the way, so it is no plain move.
		if err := s.Put(ctx, *st.New, item{}); err != nil {
			return err
		}
		if err := s.Remove(ctx, old); err != nil {
			return fmt.Errorf("%w: %s is written, but %s is still there: %w", setplan.ErrUnknown, st.New.Address, old.Address, err)
		}
		return nil
	}
	return s.Put(ctx, *st.New, old)
}

// Put creates or overwrites one object.
func (s *set) Put(ctx context.Context, it, old item) error {
	n := string(it.Address)
	if err := s.remote.chain(n); err != nil {
		return err
	}
	if it.Kind == kindDir {
		return s.putDir(n, it.Value, old)
	}
	s.sweep(path.Dir(n))
	temp := path.Join(path.Dir(n), tempPrefix+rand.Text())
	write := s.putFile
	if it.Kind == kindSymlink {
		write = s.putLink
	}
	if err := write(ctx, temp, it.Value); err != nil {
		_ = s.remote.Client.Remove(s.remote.path(temp))
		return fmt.Errorf("%s: %w", n, err)
	}
	if err := s.place(temp, n, old); err != nil {
		_ = s.remote.Client.Remove(s.remote.path(temp))
		return err
	}
	return s.settled(n, it.Value)
}

// putFile writes a whole file under a temporary name.
func (s *set) putFile(ctx context.Context, temp string, e *entry) error {
	src, err := s.in.Tree.Open(e.From)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := s.remote.OpenFile(s.remote.path(temp), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	h := sha256.New()
	got, err := f.ReadFrom(io.TeeReader(&source{ctx, src}, h))
	if err == nil && (got != e.Size || [sha256.Size]byte(h.Sum(nil)) != e.Sum) {
		err = fmt.Errorf("%s reads differently than it was planned: %w", e.From, driver.ErrStale)
	}
	if err == nil && e.Owner != "" {
		uid, gid, perr := parseOwner(e.Owner)
		if err = perr; err == nil {
			if err = f.Chown(int(uid), int(gid)); err != nil {
				err = fmt.Errorf("the server does not let this account give files to %s: %w", e.Owner, err)
			}
		}
	}
	if err == nil && !s.want.spec.IgnoreModes {
		err = f.Chmod(e.Mode)
	}
	if err == nil && s.remote.fsync {
		err = f.Sync()
	}
	if err == nil {
		var info fileInfo
		if info, err = f.Stat(); err == nil && info.Size() != e.Size {
			err = fmt.Errorf("%d bytes arrived of %d", info.Size(), e.Size)
		}
	}
	return errors.Join(err, f.Close())
}

// source reads until the context ends.
type source struct {
	ctx context.Context
	r   io.Reader
}

// Read gives the next piece.
func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

func (s *set) putLink(_ context.Context, temp string, e *entry) error {
	return s.remote.Symlink(e.Link, s.remote.path(temp))
}

// place moves what was written to its place, if that still is as it was.
func (s *set) place(temp, n string, old item) error {
	from, to := s.remote.path(temp), s.remote.path(n)
	if err := s.unchanged(n, old); err != nil {
		return err
	}
	if old.Value != nil && old.Kind == kindDir {
		if err := s.remote.RemoveDirectory(to); err != nil {
			return fmt.Errorf("%s: the directory in the way: %w", n, err)
		}
		old = item{}
	}
	var err error
	switch {
	case old.Value == nil:
		// Where the server follows the protocol this refuses to overwrite.
		err = s.remote.Rename(from, to)
	case s.remote.posix:
		err = s.remote.PosixRename(from, to)
	default:
		if err = s.remote.Client.Remove(to); err == nil {
			if err = s.remote.Rename(from, to); err != nil {
				return fmt.Errorf("%w: %s was removed to be replaced: %w", setplan.ErrUnknown, n, err)
			}
		}
	}
	if err != nil && !answered(err) {
		return fmt.Errorf("%w: %s: %w", setplan.ErrUnknown, n, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}

// unchanged refuses to overwrite what somebody else wrote since it was read.
func (s *set) unchanged(n string, old item) error {
	info, err := s.remote.Lstat(s.remote.path(n))
	switch {
	case errors.Is(err, fs.ErrNotExist) && old.Value == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is gone: %w", n, driver.ErrStale)
	case err != nil:
		return fmt.Errorf("%s: %w", n, err)
	case old.Value == nil:
		return fmt.Errorf("%s is there now: %w", n, driver.ErrStale)
	case kindOf(info.Mode()) != old.Kind, old.Kind == kindFile && stampOf(info) != old.Value.Stamp:
		return fmt.Errorf("%s changed: %w", n, driver.ErrStale)
	}
	return nil
}

// settled looks at what was written, and remembers how the server shows it.
func (s *set) settled(n string, e *entry) error {
	info, err := s.remote.Lstat(s.remote.path(n))
	if err != nil {
		return fmt.Errorf("%w: %s can't be looked at after the write: %w", setplan.ErrUnknown, n, err)
	}
	if e.Kind == kindFile && !s.want.spec.IgnoreModes && info.Mode().Perm() != e.Mode.Perm() {
		return fmt.Errorf("%w: the server gave %s the mode %04o instead of %04o; set ignoreModes where it keeps none", setplan.ErrUnknown, n, info.Mode().Perm(), e.Mode.Perm())
	}
	e.Stamp = stampOf(info)
	return nil
}

func (s *set) putDir(n string, e *entry, old item) error {
	full := s.remote.path(n)
	if old.Value != nil && old.Kind != kindDir {
		if err := s.unchanged(n, old); err != nil {
			return err
		}
		if err := s.remote.Client.Remove(full); err != nil {
			return fmt.Errorf("%s: the %s in the way: %w", n, old.Kind, err)
		}
		old = item{}
	}
	if old.Value == nil {
		if err := s.remote.Mkdir(full); err != nil {
			if !answered(err) {
				return fmt.Errorf("%w: %s: %w", setplan.ErrUnknown, n, err)
			}
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	if s.want.spec.IgnoreModes {
		return nil
	}
	if err := s.remote.Chmod(full, e.Mode); err != nil {
		return fmt.Errorf("%w: mode of %s: %w", setplan.ErrUnknown, n, err)
	}
	return nil
}

// Remove deletes one object; one that is already gone is no error.
func (s *set) Remove(_ context.Context, old item) error {
	n := string(old.Address)
	err := s.remote.chain(n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.unchanged(n, old); err != nil {
		if _, lerr := s.remote.Lstat(s.remote.path(n)); errors.Is(lerr, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if old.Kind == kindDir {
		s.sweep(n)
		err = s.remote.RemoveDirectory(s.remote.path(n))
	} else {
		err = s.remote.Client.Remove(s.remote.path(n))
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case !answered(err):
		return fmt.Errorf("%w: %s: %w", setplan.ErrUnknown, n, err)
	}
	return fmt.Errorf("%s: %w", n, err)
}

// sweep removes what a killed process left unfinished in a directory.
func (s *set) sweep(dir string) {
	if _, done := s.swept.LoadOrStore(dir, true); done {
		return
	}
	for _, info := range s.names[dir] {
		if !strings.HasPrefix(info.Name(), tempPrefix) || info.IsDir() || s.in.Now.Sub(info.ModTime()) < leftoverAge {
			continue
		}
		n := path.Join(dir, info.Name())
		if err := s.remote.Client.Remove(s.remote.path(n)); err == nil && s.log != nil {
			s.log.Logf("sftp: removed %s, left by an apply that was cut off on %s", n, info.ModTime().UTC().Format(time.DateOnly))
		}
	}
}
