package engine

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
)

// The index finds exactly what a check of every target would find.
func TestPathIndexAgreesWithBruteForce(t *testing.T) {
	seg := rapid.SampledFrom([]string{"a", "b", "c"})
	path := rapid.Custom(func(t *rapid.T) string {
		p := seg.Draw(t, "s0")
		for i := range rapid.IntRange(0, 3).Draw(t, "depth") {
			p += "/" + seg.Draw(t, fmt.Sprint("s", i+1))
		}
		return p
	})
	glob := rapid.Custom(func(t *rapid.T) string {
		return path.Draw(t, "base") + rapid.SampledFrom([]string{"", "/**", "/*", "/*/b", "/**/c", "/{a,b}"}).Draw(t, "rest")
	})
	rapid.Check(t, func(t *rapid.T) {
		x := newPathIndex()
		var all []*config.Resolved
		for i := range rapid.IntRange(1, 6).Draw(t, "targets") {
			r := &config.Resolved{ID: fmt.Sprint("t", i), Path: path.Draw(t, "path"), Inputs: rapid.SliceOfN(glob, 0, 3).Draw(t, "inputs")}
			all = append(all, r)
			x.add(r)
		}
		if rapid.Bool().Draw(t, "remove") {
			x.remove(all[0])
			all = all[1:]
		}
		changed := path.Draw(t, "changed")
		got := map[string]bool{}
		x.find(changed, got)
		want := map[string]bool{}
		for _, r := range all {
			hit := under(changed, r.Path)
			for _, in := range r.Inputs {
				ok, _ := doublestar.Match(in, changed)
				hit = hit || ok || under(changed, in)
			}
			if hit {
				want[r.ID] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("changed %s: got %v, want %v", changed, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	})
}

func under(p, dir string) bool {
	return p == dir || len(p) > len(dir) && p[:len(dir)+1] == dir+"/"
}
