package engine

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// orderScopes puts scopes in the order in which a rollout takes them. The
// seed decides a random order: equal seeds give equal orders. It is pure.
func orderScopes(scopes []plan.Scope, infos []driver.ScopeInfo, o config.Order, seed string) []plan.Scope {
	out := slices.Clone(scopes)
	slices.Sort(out)
	place := make(map[plan.Scope]int, len(infos))
	groups := make(map[plan.Scope][]string, len(infos))
	for i, info := range infos {
		place[info.Scope], groups[info.Scope] = i, info.Groups
	}
	at := func(s plan.Scope) int {
		if n, ok := place[s]; ok {
			return n
		}
		return len(infos) // what the inventory does not list comes last, by name
	}
	switch o.By {
	case "name":
	case "random":
		rank := make(map[plan.Scope]string, len(out))
		for _, s := range out {
			sum := sha256.Sum256([]byte(seed + "\x00" + string(s)))
			rank[s] = string(sum[:])
		}
		slices.SortFunc(out, func(a, b plan.Scope) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b)) })
	default:
		slices.SortStableFunc(out, func(a, b plan.Scope) int { return at(a) - at(b) })
	}
	if len(o.First) == 0 {
		return out
	}
	first := func(s plan.Scope) int {
		for i, word := range o.First {
			if config.Selects(word, string(s), groups[s]) {
				return i
			}
		}
		return len(o.First)
	}
	slices.SortStableFunc(out, func(a, b plan.Scope) int { return first(a) - first(b) })
	return out
}

// cutBatches cuts ordered scopes into batches. Shares are of total, the number
// of all scopes of the target; most bounds every batch, 0 does not. It is pure.
func cutBatches(ordered []plan.Scope, sizes config.Batches, total, most int) [][]plan.Scope {
	var out [][]plan.Scope
	for n := 0; len(ordered) > 0; n++ {
		size := sizes.Size(n, total)
		if most > 0 {
			size = min(size, most)
		}
		size = min(size, len(ordered))
		out = append(out, ordered[:size:size])
		ordered = ordered[size:]
	}
	return out
}

// part gives the part of a plan that lies in some scopes.
func part(p *plan.Plan, in func(plan.Scope) bool) *plan.Plan {
	out := *p
	out.Scopes, out.Changes = nil, []plan.Change{}
	for _, s := range p.Scopes {
		if in(s.Scope) {
			out.Scopes = append(out.Scopes, s)
		}
	}
	for _, c := range p.Changes {
		if in(c.Scope) {
			out.Changes = append(out.Changes, c)
		}
	}
	return &out
}

// among tells whether a scope is one of a list.
func among(scopes []plan.Scope) func(plan.Scope) bool {
	set := make(map[plan.Scope]bool, len(scopes))
	for _, s := range scopes {
		set[s] = true
	}
	return func(s plan.Scope) bool { return set[s] }
}

// writing gives the scopes in which a plan writes, in its order.
func writing(p *plan.Plan) []plan.Scope {
	var out []plan.Scope
	seen := map[plan.Scope]bool{}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Action.Writes() && !seen[c.Scope] {
			seen[c.Scope] = true
			out = append(out, c.Scope)
		}
	}
	return out
}
