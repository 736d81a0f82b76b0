package ssh

import (
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Bounds on what is written between two entries of the journal.
const (
	maxSteps = 500
	maxBatch = 2 << 20 // bytes of content
)

// Batches orders the writes of a host: first what must make room (a
// directory's content, where a file takes the directory's place), then new
// content by rank and from the top down, then removals the other way round. As
// much as possible goes into one batch, which is one round trip. What is large
// travels alone.
func (s *set) Batches(steps []step) [][]step {
	ordered := slices.Clone(steps)
	if len(steps) > 0 {
		if h := s.hosts[steps[0].Change.Scope]; h != nil {
			h.marks = marks(steps)
		}
	}
	made := map[string]bool{} // paths that become something else than a directory
	for i := range ordered {
		if n := ordered[i].New; n != nil && n.Kind != kindDir {
			made[string(n.Address)] = true
		}
	}
	phase := func(st *step) int {
		switch {
		case st.New != nil && rankOf(st.Change.Kind) >= rankService:
			return 3 // when all else is in its place, and what goes is gone
		case st.New != nil:
			return 1
		case below(made, string(st.Change.Address)):
			return 0
		}
		return 2
	}
	slices.SortStableFunc(ordered, func(a, b step) int {
		pa, pb := phase(&a), phase(&b)
		if pa != pb {
			return pa - pb
		}
		c := rankOf(a.Change.Kind) - rankOf(b.Change.Kind)
		if c == 0 {
			c = byTree(string(a.Change.Address), string(b.Change.Address))
		}
		if pa != 1 && pa != 3 {
			return -c
		}
		return c
	})
	var out [][]step
	size := 0
	for _, st := range ordered {
		n := weight(st)
		alone := n > maxInline || st.Change.Kind == kindReboot || st.Change.Action == plan.Rename
		if last := len(out) - 1; last >= 0 && !alone && size >= 0 && len(out[last]) < maxSteps && size+n <= maxBatch {
			out[last] = append(out[last], st)
			size += n
			continue
		}
		out = append(out, []step{st})
		size = n
		if alone {
			size = -1 // nothing joins it
		}
	}
	return out
}

// weight is how much content a step moves.
func weight(st step) int {
	if st.New == nil {
		return 0
	}
	if h, ok := st.New.Value.State.(interface{ heavy(old *object) int64 }); ok {
		var old *object
		if st.Old != nil {
			old = st.Old.Value
		}
		return int(min(h.heavy(old), 1<<30))
	}
	return 0
}

func rankOf(kind string) int {
	k := kindOf(kind)
	if k == nil {
		return rankPath
	}
	r := k.info().rank
	if kind == kindDir {
		r-- // before what is in it
	}
	return r
}

// byTree orders paths so that what lies in one directory stays together.
func byTree(a, b string) int {
	da, na := splitPath(a)
	db, nb := splitPath(b)
	if c := strings.Compare(da, db); c != 0 {
		return c
	}
	return strings.Compare(na, nb)
}

func below(made map[string]bool, name string) bool {
	for i := range name {
		if name[i] == '/' && made[name[:i]] {
			return true
		}
	}
	return false
}
