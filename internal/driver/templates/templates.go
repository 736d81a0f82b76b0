// Package templates looks at text/template templates that come from a
// repository: which variables they use, and whether they could run without end.
package templates

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/template/parse"
)

// maxLoops is how many loops may lie inside of each other: what each may
// multiply is bounded by the values, not by the template.
const maxLoops = 3

// Names gives the variables that a parsed template uses, sorted. It refuses
// what a template of a repository may not do: call other templates, loop over
// anything but a variable, nest loops deeply, or print all variables at once.
func Names(root *parse.ListNode) ([]string, error) {
	used := map[string]bool{}
	if err := (inspector{used}).node(root, true, 0); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(used)), nil
}

// inspector collects the variables that a template uses, and refuses what
// could run without end.
type inspector struct{ used map[string]bool }

// node looks at one part. Dot tells that "." is still the set of all
// variables, which it no longer is inside range and with.
func (i inspector) node(n parse.Node, dot bool, loops int) error {
	switch x := n.(type) {
	case *parse.ListNode:
		if x == nil {
			return nil
		}
		for _, c := range x.Nodes {
			if err := i.node(c, dot, loops); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return i.pipe(x.Pipe, dot)
	case *parse.IfNode:
		return i.branch(&x.BranchNode, dot, dot, loops)
	case *parse.WithNode:
		return i.branch(&x.BranchNode, dot, false, loops)
	case *parse.RangeNode:
		if loops++; loops > maxLoops {
			return fmt.Errorf("more than %d loops inside of each other", maxLoops)
		}
		if !plainField(x.Pipe) {
			return errors.New("range works over a variable only, as in {{ range .addresses }}")
		}
		return i.branch(&x.BranchNode, dot, false, loops)
	case *parse.TemplateNode:
		return errors.New("templates within templates are not supported")
	}
	return nil
}

func (i inspector) branch(b *parse.BranchNode, dot, inside bool, loops int) error {
	if err := i.pipe(b.Pipe, dot); err != nil {
		return err
	}
	if err := i.node(b.List, inside, loops); err != nil {
		return err
	}
	return i.node(b.ElseList, dot, loops)
}

func (i inspector) pipe(p *parse.PipeNode, dot bool) error {
	for _, cmd := range p.Cmds {
		for _, arg := range cmd.Args {
			if err := i.arg(arg, dot); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i inspector) arg(n parse.Node, dot bool) error {
	switch a := n.(type) {
	case *parse.FieldNode:
		if dot {
			i.used[a.Ident[0]] = true
		}
	case *parse.VariableNode:
		if a.Ident[0] == "$" && len(a.Ident) > 1 {
			i.used[a.Ident[1]] = true
		}
	case *parse.ChainNode:
		return i.arg(a.Node, dot)
	case *parse.PipeNode:
		return i.pipe(a, dot)
	case *parse.DotNode:
		if dot {
			return errors.New("name the variable: {{ . }} alone stands for all of them")
		}
	}
	return nil
}

func plainField(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	switch p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode, *parse.DotNode, *parse.VariableNode:
		return true
	}
	return false
}
