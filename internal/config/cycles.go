package config

import (
	"maps"
	"slices"
	"strings"
)

// The states of a target in the search for cycles.
const (
	unseen = iota
	onPath
	finished
)

// cycles reports every ring of dependsOn and values that the search meets,
// with the targets in order.
func (c *checker) cycles() {
	state := make([]int, len(c.all))
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = onPath
		path = append(path, i)
		for _, id := range upstream(&c.all[i]) {
			j, ok := c.byID[id]
			if !ok {
				continue
			}
			switch state[j] {
			case unseen:
				visit(j)
			case onPath:
				c.cycle(path[slices.Index(path, j):])
			}
		}
		path = path[:len(path)-1]
		state[i] = finished
	}
	for i := range c.all {
		if state[i] == unseen {
			visit(i)
		}
	}
}

func (c *checker) cycle(ring []int) {
	const most, shown = 20, 20
	if c.rings++; c.rings > most {
		return
	}
	var parts []string
	for n, i := range ring {
		if n == shown {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, short(c.all[i].ID)+" ("+c.all[i].Source.String()+")")
	}
	parts = append(parts, short(c.all[ring[0]].ID))
	c.diags.Errorf(c.all[ring[0]].Source, "dependsOn", "remove one of the dependencies", "targets wait for each other: %s", strings.Join(parts, " → "))
}

// upstream lists the ids that a target waits for.
func upstream(r *Resolved) []string {
	out := slices.Clone(r.DependsOn)
	for _, key := range slices.Sorted(maps.Keys(r.Values)) {
		out = append(out, r.Values[key].Target)
	}
	return out
}
