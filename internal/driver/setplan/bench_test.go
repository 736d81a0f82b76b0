package setplan_test

import (
	"fmt"
	"testing"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// BenchmarkDiff compares 100,000 objects, in one scope and in 10,000.
func BenchmarkDiff(b *testing.B) {
	for _, scopes := range []int{1, 10_000} {
		for _, changed := range []int{0, 1_000} {
			b.Run(fmt.Sprintf("scopes=%d/changed=%d", scopes, changed), func(b *testing.B) {
				w, desired, observed := bigWorld(scopes, changed)
				in := w.input()
				b.ReportAllocs()
				for b.Loop() {
					p, err := setplan.Diff(in, w.model, desired, observed)
					if err != nil || len(p.Changes) != changed {
						b.Fatalf("%v, %d changes", err, len(p.Changes))
					}
				}
			})
		}
	}
}

func bigWorld(scopes, changed int) (*world, []item, []scope) {
	w := newWorld()
	desired := make([]item, 0, 100_000)
	observed := make([]scope, scopes)
	for i := range 100_000 {
		s := i % scopes
		name := plan.Scope(fmt.Sprintf("zone-%d.example.", s))
		observed[s].Name = name
		k := at(name, plan.Address(fmt.Sprintf("host-%06d/A", i)))
		desired = append(desired, toItem(k, cellOf("v1")))
		have := cellOf("v1")
		if i < changed {
			have = cellOf("v2")
		}
		observed[s].Items = append(observed[s].Items, toItem(k, have))
		w.own(k, cellOf("v1").hash(), false)
	}
	return w, desired, observed
}
