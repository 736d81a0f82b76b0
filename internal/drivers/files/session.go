package files

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"path"
	"strconv"
	"strings"

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

// session is an open root directory.
type session struct {
	place   *place
	purpose driver.Purpose
	key     []byte
}

// Close lets go of the root.
func (s *session) Close() error { return s.place.close() }

// Plan compares the snapshot with the directory.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	p, err := setplan.Plan(ctx, in, set)
	if err != nil {
		return nil, err
	}
	p.Driver, p.Version = "files", (*filesDriver)(nil).Info().Version
	p.Warnings = set.warnings
	set.markUnknown(p)
	return p, nil
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose != driver.Write {
		return driver.Permanent(errors.New("files: the session was opened to read"))
	}
	set, err := s.set(ctx, in)
	if err != nil {
		return err
	}
	for name, e := range set.want.entries {
		if e.Unknown {
			return fmt.Errorf("%s uses a value that is not known yet", name)
		}
	}
	set.log = report
	return setplan.Apply(ctx, in, p, set, report)
}

// set is one plan or apply. It gives setplan what it asks for.
type set struct {
	*session
	in       driver.Input
	want     *wanted
	desired  []item
	keep     map[string]bool // directories needed by what is desired
	warnings plan.Diagnostics
	owners   map[string]*owner
	swept    map[string]bool // directories looked through for leftovers
	log      driver.Report
}

func (s *session) set(ctx context.Context, in driver.Input) (*set, error) {
	st := &set{session: s, in: in, owners: map[string]*owner{}, swept: map[string]bool{}, keep: map[string]bool{}}
	if in.Mode == plan.Destroy {
		spec, err := specOf(in)
		st.want = &wanted{spec: spec, entries: map[string]*entry{}}
		return st, err
	}
	prep := in.Prepared
	if prep == nil || prep.State == nil {
		var err error
		if prep, err = (*filesDriver)(nil).Prepare(ctx, in); err != nil {
			return nil, err
		}
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	w, ok := prep.State.(*wanted)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("files: prepared state is a %T", prep.State))
	}
	st.want, st.warnings = w, prep.Diagnostics.Warnings()
	return st, nil
}

// Desired gives the files and links, and the directories they need.
func (s *set) Desired(_ context.Context, _ driver.Input) ([]item, error) {
	s.desired = make([]item, 0, len(s.want.entries))
	for name, e := range s.want.entries {
		own, err := s.ownerOf(name)
		if err != nil {
			return nil, err
		}
		if own != nil {
			with := *e
			with.Owner = own
			e = &with
		}
		s.desired = append(s.desired, s.item(name, e))
		for dir := path.Dir(name); dir != "." && !s.keep[dir]; dir = path.Dir(dir) {
			s.keep[dir] = true
		}
	}
	for dir := range s.keep {
		need, err := s.needs(dir)
		if err != nil {
			return nil, err
		}
		if need {
			mode, err := s.dirMode()
			if err != nil {
				return nil, err
			}
			s.desired = append(s.desired, s.item(dir, &entry{Kind: kindDir, Mode: mode}))
		}
	}
	return s.desired, nil
}

// needs tells whether a directory is ours to make or keep: it is missing, in
// the way, in our inventory, or the whole tree is ours. One that somebody
// else made is used as it is.
func (s *set) needs(dir string) (bool, error) {
	if _, ours := s.in.Inventory[plan.Key{Address: plan.Address(dir)}]; ours || s.want.spec.Ownership == OwnTree {
		return true, nil
	}
	at, err := s.place.enter(dir, false)
	if err == nil {
		return false, at.Close()
	}
	if absent(err) {
		return true, nil
	}
	return false, err
}

func (s *set) dirMode() (mode fsMode, err error) {
	if s.want.spec.DirMode == "" {
		return 0o755, nil
	}
	return parseMode(s.want.spec.DirMode)
}

func (s *set) item(name string, e *entry) item {
	key := plan.Key{Address: plan.Address(name)}
	it := item{Key: key, Kind: e.Kind, Class: class, Value: e, Hash: e.hash(key.Address, s.key)}
	if e.From != "" {
		it.Source = plan.Source{File: e.From}
	}
	return it
}

// ownerOf gives who a path must belong to, nil for anybody.
func (s *set) ownerOf(name string) (*owner, error) {
	text, ok := longestMatch(s.want.spec.Owners, name)
	if !ok {
		return nil, nil
	}
	if o := s.owners[text]; o != nil {
		return o, nil
	}
	userName, groupName, _ := strings.Cut(text, ":")
	o := &owner{}
	var err error
	if o.uid, err = strconv.Atoi(userName); err != nil {
		u, err := user.Lookup(userName)
		if err != nil {
			return nil, fmt.Errorf("spec: owners: %w", err)
		}
		o.uid, _ = strconv.Atoi(u.Uid)
	}
	if o.gid, err = strconv.Atoi(groupName); err != nil {
		g, err := user.LookupGroup(groupName)
		if err != nil {
			return nil, fmt.Errorf("spec: owners: %w", err)
		}
		o.gid, _ = strconv.Atoi(g.Gid)
	}
	s.owners[text] = o
	return o, nil
}

// markUnknown names what a plan can't show yet.
func (s *set) markUnknown(p *plan.Plan) {
	for i := range p.Changes {
		c := &p.Changes[i]
		if e := s.want.entries[string(c.Address)]; e != nil && e.Unknown && len(c.After) > 0 {
			c.Unknown = []string{"/content"}
		}
	}
}
