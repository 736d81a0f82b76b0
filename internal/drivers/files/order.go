package files

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// batchSize is how many files are written between two entries of the journal.
const batchSize = 64

// Batches orders the writes: first what must make room (a directory's content,
// where a file takes the directory's place), then new content from the top
// down, so that directories come before what is in them, then deletes from
// the bottom up.
func (s *set) Batches(steps []step) [][]step {
	made := map[string]bool{} // paths that become something else than a directory
	for i := range steps {
		if n := steps[i].New; n != nil && n.Kind != kindDir {
			made[string(n.Address)] = true
		}
	}
	rank := func(st step) int {
		switch {
		case st.New != nil:
			return 1
		case below(made, string(st.Change.Address)):
			return 0
		}
		return 2
	}
	ordered := slices.Clone(steps)
	slices.SortStableFunc(ordered, func(a, b step) int {
		ra, rb := rank(a), rank(b)
		if ra != rb {
			return ra - rb
		}
		n := strings.Compare(string(a.Change.Address), string(b.Change.Address))
		if ra != 1 {
			return -n
		}
		return n
	})
	return slices.Collect(slices.Chunk(ordered, batchSize))
}

func below(made map[string]bool, name string) bool {
	for i := range name {
		if name[i] == '/' && made[name[:i]] {
			return true
		}
	}
	return false
}

// Write carries out one batch, each file by itself: one that fails does not
// stop the others. In the end every directory concerned is synced, once.
func (s *set) Write(ctx context.Context, batch []step) []error {
	errs := make([]error, len(batch))
	dirs := map[string][]int{}
	for i, st := range batch {
		if err := ctx.Err(); err != nil {
			errs[i] = fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
			continue
		}
		if errs[i] = s.one(ctx, st); errs[i] != nil {
			continue
		}
		for _, name := range []plan.Address{st.Change.Address, st.Change.From} {
			if name != "" {
				dir, _ := parentOf(string(name))
				dirs[dir] = append(dirs[dir], i)
			}
		}
	}
	for dir, steps := range dirs {
		if err := s.sync(dir); err != nil {
			for _, i := range steps {
				errs[i] = fmt.Errorf("%w: sync of %s: %w", setplan.ErrUnknown, dir, err)
			}
		}
	}
	return errs
}

// sync makes the names in a directory durable. When that fails the writes
// have happened, but may not outlive a crash.
func (s *set) sync(dir string) error {
	at, err := s.place.enter(dir, false)
	if absent(err) {
		return nil // it was removed in the same batch, and so its parent is synced
	}
	if err != nil {
		return err
	}
	defer at.Close()
	f, err := at.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
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
		return s.Rename(ctx, *st.New, old)
	}
	return s.Put(ctx, *st.New, old)
}
