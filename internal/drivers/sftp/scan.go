package sftp

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// lanes is how many requests are under way at a time.
const lanes = 16

// side runs work for each of n, several at a time, and gives the first error.
func side(ctx context.Context, n int, work func(i int) error) error {
	slots := make(chan struct{}, lanes)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		if errs[i] = ctx.Err(); errs[i] != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = work(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// concerned gives the paths that concern the target: desired, needed, owned.
func (s *set) concerned() map[string]bool {
	out := map[string]bool{}
	for n := range s.want.entries {
		out[n] = true
	}
	for n := range s.keep {
		out[n] = true
	}
	for k := range s.in.Inventory {
		out[string(k.Address)] = true
	}
	return out
}

// scan lists every directory in which something concerns the target, from the
// root down. Directories behind links are not entered.
func (s *set) scan(ctx context.Context) error {
	if s.seen != nil {
		return nil
	}
	need := map[string]bool{".": true}
	for n := range s.concerned() {
		if o := s.in.Inventory[plan.Key{Address: plan.Address(n)}]; o.Kind == kindDir {
			need[n] = true
		}
		for dir := path.Dir(n); !need[dir]; dir = path.Dir(dir) {
			need[dir] = true
		}
	}
	levels := map[int][]string{}
	for dir := range need {
		depth := strings.Count(dir, "/") + 1
		if dir == "." {
			depth = 0
		}
		levels[depth] = append(levels[depth], dir)
	}
	seen, names := map[string]fileInfo{}, map[string][]fileInfo{}
	for depth := 0; len(levels[depth]) > 0; depth++ {
		dirs := slices.DeleteFunc(levels[depth], func(d string) bool { return d != "." && (seen[d] == nil || !seen[d].IsDir()) })
		lists := make([][]fileInfo, len(dirs))
		err := side(ctx, len(dirs), func(i int) (err error) {
			lists[i], err = s.remote.ReadDirContext(ctx, s.remote.path(dirs[i]))
			if errors.Is(err, fs.ErrNotExist) && dirs[i] != "." {
				return fmt.Errorf("%s went away while it was read: %w", dirs[i], driver.ErrStale)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.remote.path(dirs[i]), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, dir := range dirs {
			names[dir] = lists[i]
			for _, info := range lists[i] {
				seen[path.Join(dir, info.Name())] = info
			}
		}
	}
	s.seen, s.names = seen, names
	return nil
}

// Observed gives what is there of the paths that concern the target.
func (s *set) Observed(ctx context.Context, _ driver.Input, keys []plan.Key) ([]scope, error) {
	sc := scope{Realm: s.remote.realm()}
	if err := s.scan(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		sc.Err = err
		return []scope{sc}, nil
	}
	paths := s.concerned()
	if keys != nil {
		clear(paths)
		for _, k := range keys {
			paths[string(k.Address)] = true
		}
	} else {
		sc.Unmanaged = s.strangers(paths)
	}
	var found []string
	for n := range paths {
		info := s.seen[n]
		if info == nil {
			continue
		}
		if info.IsDir() && !s.keep[n] && s.want.entries[n] == nil && s.foreign(n) {
			sc.Unmanaged++ // no longer ours to remove: unseen, it is given up
			continue
		}
		found = append(found, n)
	}
	slices.Sort(found)
	sc.Items = make([]item, len(found))
	sc.Err = side(ctx, len(found), func(i int) error {
		e, err := s.entry(ctx, found[i], s.seen[found[i]])
		if err == nil {
			sc.Items[i] = s.item(found[i], e)
		}
		return err
	})
	if sc.Err != nil {
		sc.Items = nil
	}
	return []scope{sc}, ctx.Err()
}

// strangers counts the names that are nobody's of ours in the directories
// where the target has something.
func (s *set) strangers(paths map[string]bool) int {
	n := 0
	for dir, list := range s.names {
		for _, info := range list {
			full := path.Join(dir, info.Name())
			if !paths[full] && !strings.HasPrefix(info.Name(), tempPrefix) && !matchAny(s.want.spec.Ignore, full) {
				n++
			}
		}
	}
	return n
}

// foreign tells whether a directory of ours holds what is not ours to remove.
func (s *set) foreign(dir string) bool {
	for _, info := range s.names[dir] {
		full := path.Join(dir, info.Name())
		if strings.HasPrefix(info.Name(), tempPrefix) {
			continue
		}
		_, owned := s.in.Inventory[plan.Key{Address: plan.Address(full)}]
		if !owned || s.want.entries[full] != nil || s.keep[full] || info.IsDir() && s.foreign(full) {
			return true
		}
	}
	return false
}

// entry makes an object of what was listed. A file is read where size, time
// and record don't already say what it is.
func (s *set) entry(ctx context.Context, n string, info fileInfo) (*entry, error) {
	addr := plan.Address(n)
	e := &entry{Kind: kindOf(info.Mode()), Size: info.Size(), Stamp: stampOf(info)}
	if !s.want.spec.IgnoreModes && e.Kind != kindSymlink {
		e.Mode = info.Mode().Perm() | info.Mode()&(fs.ModeSetuid|fs.ModeSetgid)
	}
	want := s.want.entries[n]
	if e.Kind == kindFile && want != nil && want.Owner != "" {
		e.Owner = fmt.Sprintf("%d:%d", e.Stamp.uid, e.Stamp.gid)
	}
	switch e.Kind {
	case kindDir, kindOther:
		e.Size = 0
		return e, nil
	case kindSymlink:
		e.Size = 0
		link, err := s.remote.ReadLink(s.remote.path(n))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		e.Link = link
	default:
		owned, ours := s.in.Inventory[plan.Key{Address: addr}]
		same := ours && !owned.Pending && owned.Hash != "" && recorded(owned.LastApplied) == e.Stamp.record(s.key, addr)
		switch {
		case same && !s.whole:
			e.known = owned.Hash
		case want != nil && want.Kind == kindFile && want.Size == e.Size || same:
			if err := s.read(ctx, n, e); err != nil {
				return nil, err
			}
		default:
			e.known = keyed(s.key, "unread %q %v", addr, e.Stamp)
		}
	}
	if want != nil && want.Kind == e.Kind && want.hash(addr, s.key) == e.hash(addr, s.key) {
		want.Stamp = e.Stamp // an adopted file is remembered by it
	}
	e.Sensitive = s.hidden(n, e)
	return e, nil
}

// read reads a file whole, for its sum.
func (s *set) read(ctx context.Context, n string, e *entry) error {
	f, err := s.remote.Open(s.remote.path(n))
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	defer f.Close()
	// What is opened must be what was listed: a link put in its place would
	// lead elsewhere.
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if now := stampOf(info); now != e.Stamp {
		return fmt.Errorf("%s changed while it was read: %w", n, driver.ErrStale)
	}
	h := sha256.New()
	got, err := f.WriteTo(&gated{ctx, h})
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	if got != e.Size {
		return fmt.Errorf("%s has %d bytes, %d were read", n, e.Size, got)
	}
	h.Sum(e.Sum[:0])
	return nil
}

// gated writes until the context ends.
type gated struct {
	ctx context.Context
	w   io.Writer
}

// Write passes a piece on.
func (g *gated) Write(p []byte) (int, error) {
	if err := g.ctx.Err(); err != nil {
		return 0, err
	}
	return g.w.Write(p)
}

// hidden tells whether what was found is shown masked. A file that is not ours
// always is, unless it equals what the repository asks for: whoever may write
// to the repository must not read the server through its plans.
func (s *set) hidden(n string, e *entry) bool {
	if matchAny(s.want.spec.Sensitive, n) {
		return true
	}
	want := s.want.entries[n]
	if want != nil && (want.Sensitive || want.Kind == e.Kind && e.known == "" && want.Sum == e.Sum) {
		return want.Sensitive
	}
	owned, ours := s.in.Inventory[plan.Key{Address: plan.Address(n)}]
	var kept remembered
	return !ours || json.Unmarshal(owned.LastApplied, &kept) != nil || kept.Hidden || kept.Stat == ""
}
