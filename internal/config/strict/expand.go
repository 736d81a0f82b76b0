package strict

import (
	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// expansion measures what a document becomes once its aliases are written out,
// before anything is: a few lines of aliases to aliases can stand for billions
// of nodes.
type expansion struct {
	// sizes has the size of every anchored node, or 0 while it is measured.
	sizes map[*Node]int
	cycle *Node // an alias inside what it stands for
	deep  *Node // a node that is nested too deeply
}

// tooLarge reports a document whose aliases expand beyond the bounds.
func tooLarge(file string, root *Node) plan.Diagnostics {
	var diags plan.Diagnostics
	e := &expansion{sizes: map[*Node]int{}}
	size := e.size(root, 0)
	at := func(n *Node) plan.Source { return plan.Source{File: file, Line: n.Line, Column: n.Column} }
	switch {
	case e.deep != nil:
		diags.Errorf(at(e.deep), "", "", "the document is nested more than %d levels deep", maxDepth)
	case e.cycle != nil:
		diags.Errorf(at(e.cycle), "", "write it out", "the alias stands inside of what it stands for")
	case size > maxNodes:
		diags.Errorf(at(root), "", "write it out with fewer aliases", "the document has more than %d nodes once its aliases are expanded", maxNodes)
	}
	return diags
}

func (e *expansion) size(n *Node, depth int) int {
	switch {
	case n == nil || e.cycle != nil || e.deep != nil:
		return 0
	case depth > maxDepth:
		e.deep = n
		return 0
	case n.Kind == yaml.AliasNode:
		size, known := e.sizes[n.Alias]
		if known && size == 0 {
			e.cycle = n
		}
		if known {
			return size
		}
		return e.size(n.Alias, depth)
	}
	if n.Anchor != "" {
		e.sizes[n] = 0
	}
	total := 1
	for _, c := range n.Content {
		total = min(total+e.size(c, depth+1), maxNodes+1)
	}
	if n.Anchor != "" {
		e.sizes[n] = total
	}
	return total
}
