package engine

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/config"
)

// pathIndex finds the targets that a changed path concerns, in time that
// follows the depth of the path and not the number of targets: a trie over
// the literal beginnings of paths and input globs.
type pathIndex struct {
	root *pathNode
}

type pathNode struct {
	children map[string]*pathNode
	// below lists targets that take in everything from here down.
	below []string
	// globs are checked against the whole path.
	globs []globInput
}

type globInput struct{ pattern, target string }

func newPathIndex() *pathIndex { return &pathIndex{root: &pathNode{}} }

// add puts a target's path and inputs into the index.
func (x *pathIndex) add(r *config.Resolved) {
	n := x.node(path.Clean(r.Path))
	n.below = append(n.below, r.ID)
	for _, p := range r.Followed {
		n := x.node(p)
		n.below = append(n.below, r.ID)
	}
	for _, in := range r.Inputs {
		base, rest := doublestar.SplitPattern(in)
		n := x.node(base)
		switch {
		case rest == "**" || rest == "":
			n.below = append(n.below, r.ID)
		case !strings.ContainsAny(rest, "*?[{\\"):
			n = x.node(path.Join(base, rest))
			n.below = append(n.below, r.ID)
		default:
			n.globs = append(n.globs, globInput{pattern: in, target: r.ID})
		}
	}
}

func (x *pathIndex) node(p string) *pathNode {
	n := x.root
	if p == "." || p == "" {
		return n
	}
	for part := range strings.SplitSeq(p, "/") {
		child := n.children[part]
		if child == nil {
			child = &pathNode{}
			if n.children == nil {
				n.children = map[string]*pathNode{}
			}
			n.children[part] = child
		}
		n = child
	}
	return n
}

// remove takes a target out.
func (x *pathIndex) remove(r *config.Resolved) {
	drop := func(n *pathNode) {
		n.below = without(n.below, r.ID)
		keep := n.globs[:0]
		for _, g := range n.globs {
			if g.target != r.ID {
				keep = append(keep, g)
			}
		}
		n.globs = keep
	}
	drop(x.node(path.Clean(r.Path)))
	for _, p := range r.Followed {
		drop(x.node(p))
	}
	for _, in := range r.Inputs {
		base, rest := doublestar.SplitPattern(in)
		drop(x.node(base))
		if rest != "" && !strings.ContainsAny(rest, "*?[{\\") {
			drop(x.node(path.Join(base, rest)))
		}
	}
}

func without(list []string, s string) []string {
	keep := list[:0]
	for _, x := range list {
		if x != s {
			keep = append(keep, x)
		}
	}
	return keep
}

// find adds to hit the targets that a changed path concerns.
func (x *pathIndex) find(changed string, hit map[string]bool) {
	n := x.root
	n.match(changed, hit)
	for part := range strings.SplitSeq(changed, "/") {
		n = n.children[part]
		if n == nil {
			return
		}
		n.match(changed, hit)
	}
}

func (n *pathNode) match(changed string, hit map[string]bool) {
	for _, id := range n.below {
		hit[id] = true
	}
	for _, g := range n.globs {
		if ok, err := doublestar.Match(g.pattern, changed); err == nil && ok {
			hit[g.target] = true
		}
	}
}
