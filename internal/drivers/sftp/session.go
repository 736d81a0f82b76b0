package sftp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// class is what guards count.
const class = "file"

type (
	item  = setplan.Item[*entry]
	scope = setplan.Scope[*entry]
	step  = setplan.Step[*entry]
)

// session is a server. Its connection is kept as long as the session lives;
// each plan and apply has a transfer channel of its own.
type session struct {
	pool    *client.Pool
	target  *client.Target
	root    string
	purpose driver.Purpose
	key     []byte

	mu    sync.Mutex
	whole map[string]time.Time // when a target's files were last read whole
}

// Close ends the connection.
func (s *session) Close() error { return s.pool.Close() }

// Plan compares the snapshot with the server.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	defer set.close()
	set.whole = s.readWhole(in, set.want.spec)
	p, err := setplan.Plan(ctx, in, set)
	if err != nil {
		return nil, set.over(ctx, err)
	}
	p.Driver, p.Version, p.Warnings = name, version, append(set.warnings, set.remote.warnings()...)
	if set.whole && len(p.UnknownScopes()) == 0 {
		s.mu.Lock()
		s.whole[in.Target] = in.Now
		s.mu.Unlock()
	}
	return p, ctx.Err()
}

// readWhole tells whether every file is to be read: because the target says
// so, or because the last whole read of this process is too long ago.
func (s *session) readWhole(in driver.Input, spec *Spec) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.whole[in.Target]
	return spec.Check == CheckFull || !ok || in.Now.Sub(last) >= exactEvery || in.Now.Before(last)
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose != driver.Write {
		return driver.Permanent(errors.New("sftp: the session was opened to read"))
	}
	set, err := s.set(ctx, in)
	if err != nil {
		return err
	}
	defer set.close()
	set.log = report
	return set.over(ctx, setplan.Apply(ctx, in, p, set, report))
}

// Fingerprint hashes size, time, mode and owner of every object that concerns
// the target. It reads no content.
func (s *session) Fingerprint(ctx context.Context, in driver.Input) (map[plan.Scope]string, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	defer set.close()
	if err := set.scan(ctx); err != nil {
		return nil, set.over(ctx, err)
	}
	text := set.remote.realm() + "\n"
	for _, n := range slices.Sorted(maps.Keys(set.concerned())) {
		info := set.seen[n]
		switch {
		case info == nil:
		case info.IsDir():
			// Its time and size move with what others put there.
			st := stampOf(info)
			text += fmt.Sprintf("%q dir %o %d:%d\n", n, uint32(st.mode), st.uid, st.gid)
		default:
			text += fmt.Sprintf("%q %v\n", n, stampOf(info))
		}
	}
	return map[plan.Scope]string{"": keyed(nil, "%s", text)}, nil
}

// set is one plan or apply. It gives setplan what it asks for.
type set struct {
	*session
	remote   *remote
	in       driver.Input
	want     *wanted
	warnings plan.Diagnostics
	whole    bool
	log      driver.Report

	seen  map[string]fileInfo   // what was listed, by path below the root
	names map[string][]fileInfo // by directory
	keep  map[string]bool       // directories needed by what is desired
	swept sync.Map              // directories looked through for leftovers
}

func (s *session) set(ctx context.Context, in driver.Input) (*set, error) {
	st := &set{session: s, in: in, keep: map[string]bool{}, want: &wanted{spec: specOf(in), entries: map[string]*entry{}}}
	if in.Mode != plan.Destroy {
		prep := in.Prepared
		if prep == nil || prep.State == nil {
			var err error
			if prep, err = (sftpDriver{}).Prepare(ctx, in); err != nil {
				return nil, err
			}
		}
		if err := prep.Diagnostics.Err(); err != nil {
			return nil, driver.Permanent(err)
		}
		w, ok := prep.State.(*wanted)
		if !ok {
			return nil, driver.Permanent(fmt.Errorf("sftp: prepared state is a %T", prep.State))
		}
		// Entries learn their stamps: this plan or apply has its own.
		st.want = &wanted{spec: w.spec, entries: make(map[string]*entry, len(w.entries))}
		for n, e := range w.entries {
			own := *e
			st.want.entries[n] = &own
		}
		st.warnings = prep.Diagnostics.Warnings()
	}
	var err error
	st.remote, err = s.connect(ctx)
	return st, err
}

func (s *set) close() { s.remote.close() }

// over words the end of a connection that a cancelled context closed.
func (s *set) over(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// Desired gives the files and links, and the directories that they need.
func (s *set) Desired(ctx context.Context, _ driver.Input) ([]item, error) {
	for n := range s.want.entries {
		for dir := path.Dir(n); dir != "." && !s.keep[dir]; dir = path.Dir(dir) {
			s.keep[dir] = true
		}
	}
	if err := s.scan(ctx); err != nil {
		// What can't be read is an unknown scope: Observed says so.
		return s.items(s.want.entries), nil
	}
	out := s.items(s.want.entries)
	for dir := range s.keep {
		_, ours := s.in.Inventory[plan.Key{Address: plan.Address(dir)}]
		info := s.seen[dir]
		if !ours && info != nil && info.IsDir() {
			continue // somebody else made it: it is used as it is
		}
		e := &entry{Kind: kindDir}
		if !s.want.spec.IgnoreModes {
			e.Mode = 0o755
			if s.want.spec.DirMode != "" {
				var err error
				if e.Mode, err = parseMode(s.want.spec.DirMode); err != nil {
					return nil, driver.Permanent(err)
				}
			}
		}
		out = append(out, s.item(dir, e))
	}
	return out, nil
}

func (s *set) items(m map[string]*entry) []item {
	out := make([]item, 0, len(m))
	for n, e := range m {
		out = append(out, s.item(n, e))
	}
	return out
}

func (s *set) item(n string, e *entry) item {
	key := plan.Key{Address: plan.Address(n)}
	it := item{Key: key, Kind: e.Kind, Class: class, Value: e, Hash: e.hash(key.Address, s.key)}
	if e.From != "" {
		it.Source = plan.Source{File: e.From}
	}
	return it
}
