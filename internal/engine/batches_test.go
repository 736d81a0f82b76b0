package engine

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func drawScopes(t *rapid.T) ([]plan.Scope, []driver.ScopeInfo) {
	n := rapid.IntRange(1, 60).Draw(t, "n")
	var scopes []plan.Scope
	var infos []driver.ScopeInfo
	for i := range n {
		s := plan.Scope(fmt.Sprintf("h%02d", i))
		if rapid.Bool().Draw(t, "changed") {
			scopes = append(scopes, s)
		}
		infos = append(infos, driver.ScopeInfo{Scope: s, Groups: []string{fmt.Sprint("g", i%3)}})
	}
	return scopes, rapid.Permutation(infos).Draw(t, "inventory")
}

func drawAmount(t *rapid.T) config.Amount {
	if rapid.Bool().Draw(t, "share") {
		return config.Amount{Share: rapid.Float64Range(0.001, 1).Draw(t, "of")}
	}
	return config.Amount{Count: rapid.IntRange(1, 70).Draw(t, "count")}
}

// Every scope is in exactly one batch, no batch is empty or larger than it
// may be, and the order of the batches is the order asked for.
func TestBatchesHoldEveryScopeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scopes, infos := drawScopes(t)
		sizes := config.Batches(rapid.SliceOfN(rapid.Custom(drawAmount), 1, 4).Draw(t, "sizes"))
		order := config.Order{By: rapid.SampledFrom([]string{"", "inventory", "name", "random"}).Draw(t, "by"),
			First: rapid.SliceOfN(rapid.SampledFrom([]string{"g1", "h0*", "h07", "nobody"}), 0, 3).Draw(t, "first")}
		most := rapid.IntRange(0, 20).Draw(t, "most")
		total := len(infos)
		ordered := orderScopes(scopes, infos, order, "seed")
		batches := cutBatches(ordered, sizes, total, most)
		if got := slices.Concat(batches...); !slices.Equal(got, ordered) {
			t.Fatalf("%v is cut into %v", ordered, batches)
		}
		sorted := slices.Sorted(slices.Values(ordered))
		if !slices.Equal(sorted, scopes) {
			t.Fatalf("%v became %v", scopes, ordered)
		}
		for n, b := range batches {
			limit := sizes.Size(n, total)
			if most > 0 {
				limit = min(limit, most)
			}
			if len(b) == 0 || len(b) > limit || n < len(batches)-1 && len(b) != limit {
				t.Fatalf("batch %d of %v has %d scopes, it may have %d", n, sizes, len(b), limit)
			}
		}
	})
}

func TestOrderOfScopes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scopes, infos := drawScopes(t)
		place := map[plan.Scope]int{}
		for i, info := range infos {
			place[info.Scope] = i
		}
		byPlace := func(a, b plan.Scope) int { return place[a] - place[b] }
		if got := orderScopes(scopes, infos, config.Order{}, ""); !slices.IsSortedFunc(got, byPlace) {
			t.Fatalf("not in the inventory's order: %v", got)
		}
		if got := orderScopes(scopes, infos, config.Order{By: "name"}, ""); !slices.IsSorted(got) {
			t.Fatalf("not by name: %v", got)
		}
		one := orderScopes(scopes, infos, config.Order{By: "random"}, "c1")
		if again := orderScopes(rapid.Permutation(scopes).Draw(t, "shuffled"), infos, config.Order{By: "random"}, "c1"); !slices.Equal(one, again) {
			t.Fatalf("one seed gives %v and %v", one, again)
		}
		first := orderScopes(scopes, infos, config.Order{First: []string{"h05", "g1"}}, "")
		rank := func(s plan.Scope) int {
			switch {
			case s == "h05":
				return 0
			case config.Selects("g1", string(s), infos[place[s]].Groups):
				return 1
			}
			return 2
		}
		if !slices.IsSortedFunc(first, func(a, b plan.Scope) int {
			if rank(a) != rank(b) {
				return rank(a) - rank(b)
			}
			return byPlace(a, b)
		}) {
			t.Fatalf("h05, then g1, then the rest: %v", first)
		}
	})
}
