package tofu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// work is one use of a target's working copy. Nobody else uses it meanwhile.
type work struct {
	s     *session
	in    driver.Input
	root  *root
	spec  *Spec
	dir   string // of the target, below the cache
	key   string // of the target and environment, fit for a file name
	lock  *os.File
	tmp   string // for the program's temporary files and sockets
	scrub *scrubber
	// values are the target's variables that are given in a file.
	hasValues bool
}

// open takes the target's working directory and fills it from the snapshot.
// The path stays the same between plan and apply: it may stand in values.
func (s *session) open(ctx context.Context, in driver.Input) (*work, error) {
	r, err := rootOf(ctx, in)
	if err != nil {
		return nil, err
	}
	spec, _ := in.Spec.(*Spec)
	if spec == nil {
		spec = &Spec{}
	}
	if err := s.version.allows(spec.Version); err != nil {
		return nil, err
	}
	w := &work{s: s, in: in, root: r, spec: spec, scrub: s.newScrubber(in.Values)}
	w.key = fileName(in.Target, s.env.Name)
	w.dir = filepath.Join(s.cache, "targets", w.key)
	if err := os.MkdirAll(filepath.Dir(w.dir), 0o711); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	if err := w.fill(); err != nil {
		w.close()
		return nil, fmt.Errorf("working copy: %w", err)
	}
	return w, nil
}

// fileName makes a name of a target and environment that is fit for files and
// belongs to them alone.
func fileName(target, environment string) string {
	sum := sha256.Sum256([]byte(target + "\x00" + environment))
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, target)
	if len(clean) > 80 {
		clean = clean[:80]
	}
	return clean + "-" + hex.EncodeToString(sum[:6])
}

// take waits for the target's lock. A program that a killed trueup left behind
// holds it until it has written its state and ended.
func (w *work) take(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(w.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, w.s.c.lockTimeout()+stopGrace)
	defer cancel()
	if err := waitLock(limit, f, syscall.LOCK_EX); err != nil {
		_ = f.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("another run of this target, or the program of one that was killed, still works in %s: %w", w.dir, driver.ErrUnreachable)
	}
	w.lock = f
	return nil
}

// waitLock takes a lock on a file, or gives up when the context ends.
func waitLock(ctx context.Context, f *os.File, how int) error {
	wait := 2 * time.Millisecond
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(wait*2, 200*time.Millisecond)
	}
}

// fill writes the working copy anew.
func (w *work) fill() error {
	if err := w.leftBehind(); err != nil {
		return err
	}
	for _, d := range []string{"tree", "home", "secrets"} {
		if err := os.RemoveAll(filepath.Join(w.dir, d)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o700); err != nil {
			return err
		}
	}
	if err := w.makeTemp(); err != nil {
		return err
	}
	c := copier{tree: w.in.Tree, to: filepath.Join(w.dir, "tree")}
	paths := append([]string{w.in.Path}, sortedKeys(w.root.local)...)
	for _, f := range w.spec.VarFiles {
		paths = append(paths, path.Join(w.in.Path, f))
	}
	for _, p := range paths {
		if err := c.copy(p, 0); err != nil {
			return err
		}
	}
	if err := c.declared("."); err != nil {
		return err
	}
	if err := w.writeSettings(); err != nil {
		return err
	}
	if w.s.owner != nil {
		if err := os.Chmod(w.dir, 0o711); err != nil {
			return err
		}
		for _, d := range []string{"tree", "home", "secrets"} {
			if err := w.s.owner.giveAll(filepath.Join(w.dir, d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeTemp makes the directory for temporary files. Providers put sockets
// there, whose paths the system keeps to about a hundred bytes; that is why it
// is not below the cache. "tmp" names it, so that one which a killed run left
// is removed.
func (w *work) makeTemp() error {
	if old, err := os.ReadFile(w.path("tmp")); err == nil && strings.HasPrefix(filepath.Base(string(old)), "trueup-") {
		_ = os.RemoveAll(string(old))
	}
	base := os.TempDir()
	if len(base) > 40 {
		base = "/tmp"
	}
	var err error
	if w.tmp, err = os.MkdirTemp(base, "trueup-"); err != nil {
		return err
	}
	if err := w.s.owner.give(w.tmp); err != nil {
		return err
	}
	return os.WriteFile(w.path("tmp"), []byte(w.tmp), 0o600)
}

// rootDir is the root module in the working copy.
func (w *work) rootDir() string { return filepath.Join(w.dir, "tree", filepath.FromSlash(w.in.Path)) }

// path names a file beside the working copy.
func (w *work) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// close removes what must not stay and gives the directory back.
func (w *work) close() {
	for _, d := range []string{"secrets", "home", "tmp"} {
		_ = os.RemoveAll(w.path(d))
	}
	_ = os.RemoveAll(w.tmp)
	if len(w.s.backend) > 0 {
		// Backend secrets stand in the program's working data.
		_ = os.RemoveAll(w.path("data"))
		_ = os.Remove(w.path("init"))
	}
	_ = w.lock.Close()
}

// copier writes a part of a snapshot to a directory.
type copier struct {
	tree  fs.FS
	to    string
	files int
}

// copy writes a file or directory with all that is in it; symbolic links are
// followed as far as the snapshot allows.
func (c *copier) copy(name string, depth int) error {
	if depth > 50 {
		return fmt.Errorf("%s: directories are nested too deeply, or links go round in a circle", name)
	}
	st, err := fs.Stat(c.tree, name)
	if err != nil {
		return err
	}
	to := filepath.Join(c.to, filepath.FromSlash(name))
	if !st.IsDir() {
		return c.file(name, to, st)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(c.tree, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if unwanted(e.Name()) {
			continue
		}
		if err := c.copy(path.Join(name, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// unwanted are files that a repository must not bring: working data and states
// are the operator's.
func unwanted(name string) bool {
	return name == ".terraform" || name == "terraform.tfstate" || name == "terraform.tfstate.d" || name == "errored.tfstate" ||
		name == "terraform.tfstate.backup" || name == ".terraformrc" || name == "trueup_backend_override.tf"
}

func (c *copier) file(name, to string, st fs.FileInfo) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if c.files++; c.files > maxFiles {
		return fmt.Errorf("the target's inputs are more than %d files: narrow path and inputs", maxFiles)
	}
	body, err := fs.ReadFile(c.tree, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	mode := fs.FileMode(0o600)
	if st.Mode()&0o111 != 0 {
		mode = 0o700
	}
	return os.WriteFile(to, body, mode)
}

// declared copies what the target's inputs cover beside its path: a view lists
// nothing else.
func (c *copier) declared(dir string) error {
	if _, confined := c.tree.(interface{ Path() string }); !confined {
		return nil // a tree without bounds, in tests
	}
	entries, err := fs.ReadDir(c.tree, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !unwanted(e.Name()) {
			if err := c.copy(path.Join(dir, e.Name()), 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyed is a keyed hash of content, for bases.
func (s *session) keyed(doc []byte) string {
	sum := sha256.New()
	sum.Write(s.env.HashKey)
	sum.Write(doc)
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// scopes gives the plan's only scope.
func (w *work) scope() plan.ScopePlan {
	return plan.ScopePlan{Realm: w.realm(), Base: map[plan.Address]string{}, Owned: map[string]int{}}
}
