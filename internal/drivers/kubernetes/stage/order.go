package stage

import (
	"cmp"
	"slices"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Step is one write of a plan, as far as its place in the order goes.
type Step struct {
	Ref    manifest.Ref
	Action plan.Action
	Marks  Marks
	// Phase is when a hook runs; "" for an ordinary object.
	Phase Phase
}

// Part is one part of an apply. Parts follow each other; what of a part failed
// decides whether the next one begins.
type Part int

// The parts in their order.
const (
	// Ground is the namespaces and custom resource definitions that are not
	// there yet: nothing else can be written before. Adoptions, which change
	// nothing, go along.
	Ground Part = iota
	// Before is the PreSync hooks.
	Before
	// Writes is one wave of ordinary objects and Sync hooks.
	Writes
	// Deletes is what goes.
	Deletes
	// After is the PostSync hooks.
	After
	// Failure is the SyncFail hooks.
	Failure
)

// Batch is what is written as one: groups that follow each other, of steps
// that don't wait for each other.
type Batch struct {
	Part Part
	Wave int // of writes and deletes
	// Groups has indices into the steps.
	Groups [][]int
}

// Batches cuts steps into batches, in the order in which they are carried
// out. Every step is in exactly one group of one batch.
func Batches(steps []Step) []Batch {
	order := make([]int, len(steps))
	for i := range steps {
		order[i] = i
	}
	at := make([]place, len(steps))
	for i := range steps {
		at[i] = placeOf(&steps[i])
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(at[a].compare(at[b]), steps[a].Ref.Compare(steps[b].Ref), cmp.Compare(a, b))
	})
	var out []Batch
	var last place
	for _, i := range order {
		p := at[i]
		if len(out) == 0 || p.part != last.part || p.wave != last.wave {
			out = append(out, Batch{Part: p.part})
			if p.part == Writes || p.part == Deletes {
				out[len(out)-1].Wave = steps[i].wave()
			}
		}
		b := &out[len(out)-1]
		if len(b.Groups) == 0 || p.group != last.group || p.alone {
			b.Groups = append(b.Groups, nil)
		}
		b.Groups[len(b.Groups)-1] = append(b.Groups[len(b.Groups)-1], i)
		last = p
	}
	return out
}

func (s *Step) wave() int {
	if s.Phase == Sync {
		return s.Marks.Hook.Order
	}
	return s.Marks.Wave
}

// place is where a step stands: in which part, wave and group.
type place struct {
	part  Part
	wave  int // ordered as it stands; of deletes the negative one
	group int
	// alone keeps others out of its group: hooks run one after the other.
	alone bool
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.part, o.part), cmp.Compare(p.wave, o.wave), cmp.Compare(p.group, o.group))
}

// sorted groups of hooks come behind those of kinds.
const behind = 100

func placeOf(s *Step) place {
	rank := rankOf(s.Ref.GroupKind())
	if s.Phase != "" {
		return hookPlace(s, rank)
	}
	switch {
	case s.Action == plan.Adopt:
		// It changes nothing that anybody would have to wait for.
		return place{part: Ground, group: behind}
	case s.Action == plan.Delete:
		return place{part: Deletes, wave: -s.wave(), group: -rank}
	case s.Action == plan.Create && rank <= rankDefinition && !s.Marks.Placed:
		return place{part: Ground, group: rank}
	}
	return place{part: Writes, wave: s.wave(), group: rank}
}

// hookPlace orders hooks of a phase by what they say, and then by kind: a
// service account before the job that uses it.
func hookPlace(s *Step, rank int) place {
	order := s.Marks.Hook.Order
	switch s.Phase {
	case PreSync:
		return place{part: Before, group: order*behind + rank, alone: true}
	case PostSync:
		return place{part: After, group: order*behind + rank, alone: true}
	case SyncFail:
		return place{part: Failure, group: order*behind + rank, alone: true}
	}
	return place{part: Writes, wave: s.wave(), group: behind + rank, alone: true}
}
