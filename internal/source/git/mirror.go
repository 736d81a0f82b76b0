package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"trueup.dev/trueup/internal/source"
)

// Mirror is a bare copy of a repository: every commit and tree that is
// followed, and those blobs that were read. It is safe for concurrent use, and
// several processes may share its directory.
type Mirror struct {
	dir      string
	opt      source.Options
	remote   remote
	verifier *verifier
	repo     *repo
	limits   source.Limits
	modules  *modulePool
	lfs      source.Objects
	mu       sync.Mutex // of damaged
	damaged  bool
}

// Open opens the mirror kept at dir, making an empty one if there is none. It
// doesn't use the network. A damaged mirror is noticed and made anew by the
// next Fetch.
func Open(ctx context.Context, dir string, opt source.Options) (*Mirror, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Minute
	}
	m := &Mirror{dir: dir, opt: opt, limits: opt.Limits.WithDefaults()}
	if m.remote, err = parseRemote(opt); err != nil {
		return nil, err
	}
	if err := checkFollow(opt); err != nil {
		return nil, err
	}
	if m.verifier, err = newVerifier(opt); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m.repo = newRepo(m.gitDir(), nil)
	m.attach()
	lock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if m.incomplete() {
		if err := m.initRepo(ctx, m.gitDir(), lock); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Mirror) gitDir() string { return filepath.Join(m.dir, "repo.git") }

// incomplete tells that the repository isn't there, or not wholly.
func (m *Mirror) incomplete() bool {
	for _, name := range []string{"HEAD", "objects", "refs", "config"} {
		if _, err := os.Stat(filepath.Join(m.gitDir(), name)); err != nil {
			return true
		}
	}
	return false
}

// initRepo makes an empty bare repository in place of whatever is there.
func (m *Mirror) initRepo(ctx context.Context, dir string, lock *os.File) error {
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	c := command{args: []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=none", fresh}, work: m.dir, files: []*os.File{lock}}
	if _, err := c.output(ctx, localTimeout); err != nil {
		return err
	}
	return replaceDir(fresh, dir)
}

// replaceDir puts a directory in the place of another.
func replaceDir(fresh, dir string) error {
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// Close ends the helper processes.
func (m *Mirror) Close() error {
	m.repo.batch.close()
	m.modules.close()
	return nil
}

// noticed remembers damage for the next Fetch and gives the error back.
func (m *Mirror) noticed(err error) error {
	if isCorrupt(err) {
		m.mu.Lock()
		m.damaged = true
		m.mu.Unlock()
	}
	return err
}

// Revision reads one commit of the mirror.
func (m *Mirror) Revision(ctx context.Context, commit string) (source.Revision, error) {
	if !commitID.MatchString(commit) {
		return source.Revision{}, fmt.Errorf("%q is not a full commit id", commit)
	}
	r, err := m.repo.revision(ctx, commit)
	return r, m.noticed(err)
}

// Snapshot gives the files of a commit. It is cheap: trees are read as they
// are needed, and shared between commits.
func (m *Mirror) Snapshot(ctx context.Context, commit string) (*Snapshot, error) {
	r, err := m.Revision(ctx, commit)
	if err != nil {
		return nil, err
	}
	t := &commitTree{repo: m.repo, root: r.Tree, fetch: m}
	if m.opt.Submodules.Enabled {
		t.modules = m.modules.of(t)
	}
	return source.NewSnapshot(t, m.limits, m.lfs), nil
}

// The shared types under the names that go with a mirror.
type (
	Snapshot = source.Snapshot
	View     = source.View
	Entry    = source.Entry
	Read     = source.Read
)

// Changed gives the paths that differ between two commits, removed ones too.
// From "" everything differs.
func (m *Mirror) Changed(ctx context.Context, from, to string) ([]string, error) {
	var a source.Revision
	var err error
	if from != "" {
		if a, err = m.Revision(ctx, from); err != nil {
			return nil, err
		}
	}
	b, err := m.Revision(ctx, to)
	if err != nil {
		return nil, err
	}
	if from == "" {
		if err := (&commitTree{repo: m.repo, root: b.Tree}).Preload(ctx); err != nil {
			return nil, m.noticed(err)
		}
	}
	var out []string
	err = m.repo.changed(ctx, a.Tree, b.Tree, "", func(p string) {
		if len(out) == 0 || out[len(out)-1] != p {
			out = append(out, p)
		}
	})
	return sorted(out), m.noticed(err)
}

// Entries lists a directory of a commit.
func (m *Mirror) Entries(ctx context.Context, commit, dir string, recursive bool) ([]Entry, error) {
	s, err := m.Snapshot(ctx, commit)
	if err != nil {
		return nil, err
	}
	out, err := s.Entries(ctx, dir, recursive)
	return out, m.noticed(err)
}

// Find gives all files of this name in a commit.
func (m *Mirror) Find(ctx context.Context, commit, basename string) ([]Entry, error) {
	s, err := m.Snapshot(ctx, commit)
	if err != nil {
		return nil, err
	}
	out, err := s.Find(ctx, basename)
	return out, m.noticed(err)
}

// IsAncestor tells whether commit a is b or lies in its history.
func (m *Mirror) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	if !commitID.MatchString(a) || !commitID.MatchString(b) {
		return false, fmt.Errorf("%q and %q are not full commit ids", a, b)
	}
	if a == b {
		return true, nil
	}
	c := command{dir: m.gitDir(), args: []string{"merge-base", "--is-ancestor", a, b}}
	_, err := c.output(ctx, localTimeout)
	var failed *Error
	if errors.As(err, &failed) && failed.Code == 1 && failed.Stderr == "" {
		return false, nil
	}
	return err == nil, m.noticed(err)
}
