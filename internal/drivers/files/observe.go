package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

type fsMode = fs.FileMode

// absent tells that a path can't be there: it or a directory on the way is
// missing, or something on the way is no directory.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir)
}

// Observed reads what is desired or owned, or, in a tree of our own, all there
// is. Whatever can't be read makes the directory unknown.
func (s *set) Observed(ctx context.Context, _ driver.Input, keys []plan.Key) ([]scope, error) {
	o := s.observer(ctx)
	o.each = o.object
	sc := scope{Realm: s.place.realm, Exclusive: s.exclusive()}
	if err := o.read(keys, sc.Exclusive); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sc.Err = fmt.Errorf("%s: %w", s.place.path, err)
		return []scope{sc}, nil
	}
	sc.Items, sc.Unmanaged = o.items, o.unmanaged
	return []scope{sc}, nil
}

func (s *set) exclusive() bool {
	return s.want.spec.Ownership == OwnTree && s.in.Mode != plan.Destroy
}

func (s *set) observer(ctx context.Context) *observer {
	return &observer{set: s, ctx: ctx, look: map[string]map[string]bool{}}
}

// observer goes over the part of the directory that concerns a target, and
// hands each object it finds to each.
type observer struct {
	*set
	each      func(at *os.Root, full, name string) error
	ctx       context.Context
	look      map[string]map[string]bool // names to look at, by directory
	items     []item
	unmanaged int
}

func (o *observer) read(keys []plan.Key, all bool) error {
	if all && keys == nil {
		_, err := o.walk(".")
		return err
	}
	if keys != nil {
		for _, k := range keys {
			o.add(string(k.Address))
		}
	} else {
		for i := range o.desired {
			o.add(string(o.desired[i].Address))
		}
		for k := range o.in.Inventory {
			o.add(string(k.Address))
		}
	}
	for _, dir := range slices.Sorted(mapKeys(o.look)) {
		if err := o.dir(dir, keys == nil); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) add(name string) {
	dir, base := parentOf(name)
	if o.look[dir] == nil {
		o.look[dir] = map[string]bool{}
	}
	o.look[dir][base] = true
}

// dir looks at the names asked for in one directory and counts the others.
func (o *observer) dir(dir string, count bool) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	at, err := o.place.enter(dir, false)
	if err != nil {
		if absent(err) {
			return nil
		}
		return err
	}
	defer at.Close()
	for _, name := range slices.Sorted(mapKeys(o.look[dir])) {
		if err := o.each(at, path.Join(dir, name), name); err != nil {
			return err
		}
	}
	if !count {
		return nil
	}
	names, err := list(at)
	if err != nil {
		return err
	}
	for _, name := range names {
		if full := path.Join(dir, name); !o.look[dir][name] && !o.keep[full] && !o.skipped(full) {
			o.unmanaged++
		}
	}
	return nil
}

// walk reads everything below a directory of our own, from the bottom up. It
// tells whether the directory holds something that is not ours to remove:
// ignored, or outside the target's scope.
func (o *observer) walk(dir string) (foreign bool, err error) {
	if err := o.ctx.Err(); err != nil {
		return false, err
	}
	at, err := o.place.enter(dir, false)
	if err != nil {
		return false, err
	}
	defer at.Close()
	names, err := list(at)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		f, err := o.visit(at, path.Join(dir, name), name)
		if err != nil {
			return false, err
		}
		foreign = foreign || f
	}
	return foreign, nil
}

func (o *observer) visit(at *os.Root, full, name string) (foreign bool, err error) {
	if isTemp(name) {
		return false, nil
	}
	if o.skipped(full) {
		return true, nil
	}
	info, err := at.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	kind := kindOf(info.Mode())
	if !scopeOf(o.in).Contains(plan.Key{Address: plan.Address(full)}, kind) {
		o.unmanaged++
		return true, nil
	}
	if kind == kindDir {
		below, err := o.walk(full)
		if err != nil {
			return false, err
		}
		if below && !o.keep[full] && o.want.entries[full] == nil {
			o.unmanaged++
			return true, nil
		}
		foreign = below
	}
	return foreign, o.each(at, full, name)
}

func (o *observer) skipped(full string) bool {
	return isTemp(path.Base(full)) || matchAny(o.want.spec.Ignore, full)
}

// object reads one object, if it is there.
func (o *observer) object(at *os.Root, full, name string) error {
	info, err := at.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	e, err := o.entry(at, full, name, info)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if e.Kind == kindDir && !o.keep[full] && o.want.entries[full] == nil {
		foreign, err := o.foreign(full)
		if err != nil {
			return err
		}
		if foreign {
			// It holds what others put there, so it is no longer ours to remove:
			// unseen, it is given up instead.
			o.unmanaged++
			return nil
		}
	}
	o.items = append(o.items, o.item(full, e))
	return nil
}

func (o *observer) entry(at *os.Root, full, name string, info fs.FileInfo) (*entry, error) {
	e := &entry{Kind: kindOf(info.Mode()), Mode: info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid), Stamp: stampOf(info)}
	switch e.Kind {
	case kindSymlink:
		link, err := at.Readlink(name)
		if err != nil {
			return nil, err
		}
		e.Link, e.Mode = link, 0
	case kindFile:
		if err := sum(at, name, info, e); err != nil {
			return nil, err
		}
	case kindDir:
		e.Mode &= fs.ModePerm
		return e, nil
	}
	e.Sensitive = o.hidden(full, e)
	own, err := o.ownerOf(full)
	if own != nil {
		e.Owner = &owner{e.Stamp.uid, e.Stamp.gid}
	}
	return e, err
}

// hidden tells whether what was found is shown masked. A file that is not ours
// always is, unless it equals what the repository asks for: whoever may write
// to the repository must not read the directory through its plans. So is one
// of which it is not known whether it held a secret.
func (o *observer) hidden(full string, e *entry) bool {
	if matchAny(o.want.spec.Sensitive, full) {
		return true
	}
	w := o.want.entries[full]
	if w != nil && (w.Sensitive || w.Kind == e.Kind && w.Sum == e.Sum) {
		return w.Sensitive
	}
	owned, ours := o.in.Inventory[plan.Key{Address: plan.Address(full)}]
	return !ours || len(owned.LastApplied) == 0 || shownMasked(owned.LastApplied) ||
		w == nil && matchAny(o.want.spec.Templates, full)
}

// sum reads a file's content. What is opened must be what was looked at: a
// file swapped for a link in between is not followed.
func sum(at *os.Root, name string, seen fs.FileInfo, e *entry) error {
	f, err := openSame(at, name, seen)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if e.Size, err = copyAll(h, f); err != nil {
		return err
	}
	h.Sum(e.Sum[:0])
	return nil
}

func openSame(at *os.Root, name string, seen fs.FileInfo) (*os.File, error) {
	f, err := at.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(seen, info) {
		err = fmt.Errorf("%s was replaced while it was read", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// foreign tells whether a directory that is no longer needed holds anything
// beside what this target owns and no longer wants.
func (o *observer) foreign(full string) (bool, error) {
	if o.exclusive() {
		return false, nil // walk has seen to it
	}
	sub, err := o.place.enter(full, false)
	if err != nil {
		if absent(err) {
			return false, nil
		}
		return false, err
	}
	defer sub.Close()
	names, err := list(sub)
	if err != nil {
		return false, err
	}
	for _, n := range names {
		child := path.Join(full, n)
		if isTemp(n) {
			continue
		}
		_, owned := o.in.Inventory[plan.Key{Address: plan.Address(child)}]
		if !owned || o.want.entries[child] != nil || o.keep[child] {
			return true, nil
		}
		info, err := sub.Lstat(n)
		if err != nil {
			return false, err
		}
		if info.IsDir() {
			if f, err := o.foreign(child); f || err != nil {
				return f, err
			}
		}
	}
	return false, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return kindFile
	case m.IsDir():
		return kindDir
	case m&fs.ModeSymlink != 0:
		return kindSymlink
	}
	return kindOther
}

// list gives the names in a directory, sorted.
func list(at *os.Root) ([]string, error) {
	f, err := at.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// tempPrefix begins the name of every file that is being written.
const tempPrefix = ".trueup-"

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }
