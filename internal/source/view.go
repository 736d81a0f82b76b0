package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
)

// maxLinks bounds how many symbolic links one path may lead through.
const maxLinks = 40

// maxLinkTarget bounds the length of a symbolic link.
const maxLinkTarget = 4096

// maxPath bounds the length of a path that is looked up.
const maxPath = 4096

// View is what one target may read of a snapshot: its path and its inputs.
// Symbolic links are followed as long as they stay inside. Everything read or
// looked up is remembered. A View is safe for concurrent use.
type View struct {
	snap  *Snapshot
	path  string
	globs Globs
	err   error // of the patterns
	ctx   context.Context
	log   *readLog
}

var (
	_ fs.ReadFileFS     = (*View)(nil)
	_ fs.ReadDirFS      = (*View)(nil)
	_ fs.StatFS         = (*View)(nil)
	_ fs.ReadLinkFS     = (*View)(nil)
	_ driver.Identifier = (*View)(nil)
)

// Read is one path that was read or looked up through a view.
type Read struct {
	Path string `json:"path"`
	// Op is what was asked: "file", "link", "list" (names in a directory),
	// "dir" (that it is a directory) or "lookup" (found nothing).
	Op string `json:"op"`
	// ID is the object id; of a list the hash of names and modes; "" where
	// nothing was found.
	ID string `json:"id"`
}

type readLog struct {
	sync.Mutex
	reads map[Read]bool                // true where the bytes are counted
	names map[string]map[string]string // unsafe names by directory
	bytes int64
}

// WithContext gives the same view, whose reads end with the context. What is
// read through it is remembered in the original as well.
func (v *View) WithContext(ctx context.Context) *View {
	w := *v
	w.ctx = ctx
	return &w
}

// Path is the target's own path.
func (v *View) Path() string { return v.path }

// Reads gives every path read or looked up so far, sorted.
func (v *View) Reads() []Read {
	v.log.Lock()
	defer v.log.Unlock()
	out := make([]Read, 0, len(v.log.reads))
	for r := range v.log.reads {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Read) int {
		return strings.Compare(a.Path+"\x00"+a.Op+"\x00"+a.ID, b.Path+"\x00"+b.Op+"\x00"+b.ID)
	})
	return out
}

func (v *View) record(p, op, id string) {
	v.log.Lock()
	defer v.log.Unlock()
	r := Read{Path: p, Op: op, ID: id}
	if _, known := v.log.reads[r]; !known {
		v.log.reads[r] = false
	}
}

// recordFile remembers a file and counts its bytes once.
func (v *View) recordFile(p, id string, size int64) error {
	v.log.Lock()
	defer v.log.Unlock()
	r := Read{Path: p, Op: "file", ID: id}
	if v.log.reads[r] {
		return nil
	}
	v.log.reads[r] = true
	if v.log.bytes += size; v.log.bytes > v.snap.limits.Total {
		return fmt.Errorf("more than %d bytes are read: %w", v.snap.limits.Total, ErrTooLarge)
	}
	return nil
}

// resolve finds the entry that a name leads to. The last symbolic link is
// followed if asked.
func (v *View) resolve(name string, follow bool) (Entry, error) {
	if v.err != nil {
		return Entry{}, v.err
	}
	if len(name) > maxPath || !fs.ValidPath(name) {
		return Entry{}, fs.ErrInvalid
	}
	at := Entry{Path: ".", Mode: ModeDir}
	rest := split(name)
	for links := 0; len(rest) > 0; {
		seg := rest[0]
		rest = rest[1:]
		switch {
		case seg == "" || seg == ".":
			continue
		case seg == ".." && at.Path == ".":
			return Entry{}, &UnsafeError{Path: name, Reason: "a symbolic link leads out of the repository"}
		case seg == "..":
			at = Entry{Path: path.Dir(at.Path), Mode: ModeDir}
			continue
		case !at.IsDir():
			v.record(join(at.Path, seg), "lookup", "")
			return Entry{}, fs.ErrNotExist
		}
		e, err := v.step(at.Path, seg, rest)
		if err != nil {
			return Entry{}, err
		}
		if e.Mode != ModeSymlink || (len(rest) == 0 && !follow) {
			at = e
			continue
		}
		if links++; links > maxLinks {
			return Entry{}, &UnsafeError{Path: name, Reason: "symbolic links go round in a circle"}
		}
		to, err := v.link(e)
		if err != nil {
			return Entry{}, err
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return at, nil
}

// step looks one name up in a directory.
func (v *View) step(dir, name string, rest []string) (Entry, error) {
	p := join(dir, name)
	covered, below := v.globs.Match(p)
	if !covered && !below {
		return Entry{}, v.outside(append([]string{p}, rest...))
	}
	if reason := CheckName(name); reason != "" {
		return Entry{}, &UnsafeError{Path: p, Reason: reason}
	}
	e, ok, err := v.snap.tree.Lookup(v.ctx, p)
	if err != nil {
		return Entry{}, err
	}
	if !ok {
		v.record(p, "lookup", "")
		return Entry{}, fs.ErrNotExist
	}
	bad, err := v.unsafeNames(dir)
	if err != nil {
		return Entry{}, err
	}
	if reason := bad[name]; reason != "" {
		return Entry{}, &UnsafeError{Path: p, Reason: reason}
	}
	if !covered && !e.IsDir() {
		return Entry{}, &OutsideError{Path: p}
	}
	if e.Mode == ModeGitlink {
		return Entry{}, fmt.Errorf("%s is a submodule and submodules are not enabled for this repository: %w", p, ErrSubmodule)
	}
	return e, nil
}

// outside makes the error for a path; a directory is named as such.
func (v *View) outside(segs []string) error {
	p := path.Join(segs...)
	if p == ".." || strings.HasPrefix(p, "../") {
		return &UnsafeError{Path: p, Reason: "a symbolic link leads out of the repository"}
	}
	e, ok, err := v.snap.tree.Lookup(v.ctx, p)
	return &OutsideError{Path: p, Dir: err == nil && ok && e.IsDir()}
}

// link reads where a symbolic link points to, if that is a relative path.
func (v *View) link(e Entry) (string, error) {
	b, err := v.snap.tree.Blob(v.ctx, e, maxLinkTarget)
	if err != nil {
		return "", err
	}
	id, err := v.snap.tree.ID(v.ctx, e)
	if err != nil {
		return "", err
	}
	v.record(e.Path, "link", id)
	to := string(b)
	switch {
	case to == "" || strings.ContainsRune(to, 0):
		return "", &UnsafeError{Path: e.Path, Reason: "is a symbolic link to nowhere"}
	case strings.HasPrefix(to, "/") || strings.Contains(to, `\`):
		return "", &UnsafeError{Path: e.Path, Reason: "is a symbolic link to an absolute path"}
	}
	return to, nil
}

// unsafeNames gives the names of a directory that can't be used.
func (v *View) unsafeNames(dir string) (map[string]string, error) {
	v.log.Lock()
	bad, ok := v.log.names[dir]
	v.log.Unlock()
	if ok {
		return bad, nil
	}
	entries, err := v.snap.tree.List(v.ctx, dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = path.Base(e.Path)
	}
	bad = CheckNames(names)
	v.log.Lock()
	defer v.log.Unlock()
	if v.log.names == nil {
		v.log.names = map[string]map[string]string{}
	}
	v.log.names[dir] = bad
	return bad, nil
}

// list gives the visible entries of a directory.
func (v *View) list(dir string) ([]Entry, error) {
	entries, err := v.snap.tree.List(v.ctx, dir)
	if err != nil {
		return nil, err
	}
	bad, err := v.unsafeNames(dir)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	var out []Entry
	for _, e := range entries {
		show, err := v.visible(e)
		if err != nil {
			return nil, err
		}
		if !show {
			continue
		}
		if reason := bad[path.Base(e.Path)]; reason != "" {
			return nil, &UnsafeError{Path: e.Path, Reason: reason}
		}
		fmt.Fprintf(h, "%o %s\x00", e.Mode, path.Base(e.Path))
		out = append(out, e)
	}
	v.record(dir, "list", hex.EncodeToString(h.Sum(nil)))
	return out, nil
}

var errStop = errors.New("stop")

// visible tells whether an entry is covered or leads to something that is.
func (v *View) visible(e Entry) (bool, error) {
	covered, below := v.globs.Match(e.Path)
	if covered || !below || !e.IsDir() {
		return covered, nil
	}
	w := walker{tree: v.snap.tree, nodes: v.snap.limits.Nodes,
		into: func(e Entry) bool { _, below := v.globs.Match(e.Path); return below },
		visit: func(e Entry) error {
			if covered, _ := v.globs.Match(e.Path); covered {
				return errStop
			}
			return nil
		}}
	err := w.walk(v.ctx, e.Path)
	if errors.Is(err, errStop) {
		return true, nil
	}
	return false, err
}

func split(p string) []string {
	if p == "." {
		return nil
	}
	return strings.Split(p, "/")
}
