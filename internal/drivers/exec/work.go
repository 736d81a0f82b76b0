package exec

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// work is a private working copy: the target's inputs as they stand in the
// snapshot, and the files that commands are given. It is gone afterwards.
type work struct {
	s     *session
	in    driver.Input
	base  string
	lock  *os.File
	scrub *scrubber
}

const workPrefix = "trueup-exec-"

// The files and directories of a working copy.
const (
	dirRoot     = "root"
	dirHome     = "home"
	dirTemp     = "tmp"
	filePlan    = "plan"
	fileValues  = "values.json"
	fileChanges = "changes.json"
	fileActions = "actions"
	fileOwned   = "owned"
	fileReport  = "report.json"
)

func (s *session) work(ctx context.Context, in driver.Input) (*work, error) {
	base, err := os.MkdirTemp("", workPrefix)
	if err != nil {
		return nil, err
	}
	w := &work{s: s, in: in, base: base, scrub: s.scrub}
	if err := w.fill(ctx); err != nil {
		w.close()
		return nil, fmt.Errorf("working copy: %w", err)
	}
	return w, nil
}

func (w *work) fill(ctx context.Context) error {
	var err error
	if w.lock, err = os.OpenFile(filepath.Join(w.base, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	for _, d := range []string{dirRoot, dirHome, dirTemp} {
		if err := os.Mkdir(filepath.Join(w.base, d), 0o700); err != nil {
			return err
		}
	}
	if err := w.copyTree(ctx); err != nil {
		return err
	}
	if err := w.writeValues(); err != nil {
		return err
	}
	var owned strings.Builder
	for _, k := range w.ownedKeys() {
		owned.WriteString(string(k.Address) + "\n")
	}
	if err := w.write(fileOwned, []byte(owned.String())); err != nil {
		return err
	}
	for n, b := range presets[w.s.connect.Preset].write {
		if err := os.MkdirAll(filepath.Dir(w.file(n)), 0o700); err != nil {
			return err
		}
		if err := w.write(n, b); err != nil {
			return err
		}
	}
	return w.give()
}

func (w *work) ownedKeys() []plan.Key {
	keys := make([]plan.Key, 0, len(w.in.Inventory))
	for k := range w.in.Inventory {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, plan.Key.Compare)
	return keys
}

// writeValues writes the values, and learns which of them are secret.
func (w *work) writeValues() error {
	values := map[string]any{}
	for n, v := range specOf(w.in).Values {
		values[n] = v
	}
	for _, n := range sortedKeys(w.in.Values) {
		o := w.in.Values[n]
		if o.Unknown || len(o.Value) == 0 {
			continue
		}
		values[n] = o.Value
		if o.Sensitive {
			text := string(o.Value)
			var s string
			if json.Unmarshal(o.Value, &s) == nil {
				text = s
			}
			w.scrub = w.scrub.with(text)
		}
	}
	b, err := json.Marshal(values)
	if err != nil {
		return driver.Permanent(fmt.Errorf("values: %w", err))
	}
	return w.write(fileValues, b)
}

// copyTree writes the snapshot's files that the target may see. Symbolic links
// were resolved by the snapshot; what leads out of it is not there.
func (w *work) copyTree(ctx context.Context) error {
	if w.in.Tree == nil {
		return os.MkdirAll(w.dir(), 0o700)
	}
	n := 0
	err := fs.WalkDir(w.in.Tree, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > 4*maxFiles {
			return driver.Permanent(errors.New("the inputs hold too many files"))
		}
		to := filepath.Join(w.base, dirRoot, filepath.FromSlash(p))
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return w.copyFile(p, to)
	})
	if errors.Is(err, fs.ErrNotExist) && w.in.Mode == plan.Destroy {
		err = nil // there is nothing left of the target in Git
	}
	if err != nil {
		return err
	}
	return os.MkdirAll(w.dir(), 0o700)
}

func (w *work) copyFile(from, to string) error {
	info, err := fs.Stat(w.in.Tree, from)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	src, err := w.in.Tree.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	mode := fs.FileMode(0o600)
	if info.Mode().Perm()&0o111 != 0 {
		mode = 0o700
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return fmt.Errorf("%s: %w", from, err)
	}
	return dst.Close()
}

// give makes the working copy the account's.
func (w *work) give() error {
	if w.s.owner == nil {
		return nil
	}
	return filepath.WalkDir(w.base, func(p string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(p) == "lock" {
			return err
		}
		return os.Lchown(p, int(w.s.owner.uid), int(w.s.owner.gid))
	})
}

func (w *work) file(n string) string { return filepath.Join(w.base, n) }

func (w *work) write(n string, b []byte) error {
	if err := os.WriteFile(w.file(n), b, 0o600); err != nil {
		return err
	}
	if w.s.owner == nil {
		return nil
	}
	return os.Lchown(w.file(n), int(w.s.owner.uid), int(w.s.owner.gid))
}

// read reads a file that a command may have written; none is nil. A link is
// not followed.
func (w *work) read(n string) ([]byte, error) {
	f, err := os.OpenFile(w.file(n), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file: %w", n, errors.Join(err, fs.ErrInvalid))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	if err == nil && len(b) > maxOutput {
		err = fmt.Errorf("%s has more than %d bytes", n, maxOutput)
	}
	return b, err
}

// path is the target's path in the working copy; dir is the directory of it.
func (w *work) path() string {
	return filepath.Join(w.base, dirRoot, filepath.FromSlash(w.in.Path))
}

func (w *work) dir() string {
	if w.isFile() {
		return filepath.Dir(w.path())
	}
	return w.path()
}

func (w *work) isFile() bool {
	if w.in.Tree == nil || w.in.Path == "" {
		return false
	}
	info, err := fs.Stat(w.in.Tree, w.in.Path)
	return err == nil && !info.IsDir()
}

func (w *work) entry() string {
	if w.isFile() {
		return w.path()
	}
	return filepath.Join(w.path(), filepath.FromSlash(path.Clean(specOf(w.in).Entry)))
}

func (w *work) places() []string {
	return []string{"{root}", w.file(dirRoot), "{path}", w.path(), "{entry}", w.entry(), "{plan}", w.file(filePlan),
		"{values}", w.file(fileValues), "{changes}", w.file(fileChanges), "{actions}", w.file(fileActions), "{owned}", w.file(fileOwned), "{report}", w.file(fileReport)}
}

func (w *work) args(args []string) []string {
	r := strings.NewReplacer(w.places()...)
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = r.Replace(a)
	}
	return out
}

// environ is all that a command's environment holds.
func (w *work) environ(cmd string) []string {
	out := []string{"HOME=" + w.file(dirHome), "TMPDIR=" + w.file(dirTemp), "TRUEUP_COMMAND=" + cmd,
		"TRUEUP_TARGET=" + w.in.Target, "TRUEUP_MODE=" + string(w.in.Mode)}
	places := w.places()
	for i := 0; i < len(places); i += 2 {
		out = append(out, "TRUEUP_"+strings.ToUpper(strings.Trim(places[i], "{}"))+"="+places[i+1])
	}
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
	for n, v := range w.s.connect.Env {
		env[n] = strings.NewReplacer(append(places, "{base}", w.base)...).Replace(v)
	}
	for n, v := range w.s.secrets {
		env[n] = v
	}
	for _, n := range sortedKeys(env) {
		out = append(out, n+"="+env[n])
	}
	return out
}

// sums gives the SHA-256 of every file of the working copy, with its path.
func (w *work) sums() ([][]byte, error) {
	var out [][]byte
	if w.in.Tree == nil {
		return nil, nil
	}
	err := fs.WalkDir(w.in.Tree, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := fs.Stat(w.in.Tree, p); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := w.in.Tree.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, fmt.Appendf(nil, "%x %s", h.Sum(nil), p))
		return nil
	})
	return out, err
}

func (w *work) close() {
	_ = os.RemoveAll(w.base)
	if w.lock != nil {
		_ = w.lock.Close()
	}
}

// sweep removes the working copies of processes that died.
func sweep() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), workPrefix+"*"))
	for _, dir := range old {
		f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err != nil || time.Since(info.ModTime()) < time.Minute { // it may just be made
			_ = f.Close()
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}
