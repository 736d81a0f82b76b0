package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Group is one change and the scopes it is the same in.
type Group struct {
	plan.Change
	Scopes []plan.Scope
}

// Groups puts together the changes that are the same in several scopes, so
// that a plan for a hundred hosts is read like one for a single host. Changes
// are compared as they are shown: secrets by their masks.
func Groups(changes []plan.Change) []Group {
	type id struct {
		address, from        plan.Address
		action               plan.Action
		reason               plan.Reason
		before, after        string
		kind, note, conflict string
		source, unknown      string
		simulated            bool
	}
	index := map[id]int{}
	var out []Group
	for _, c := range changes {
		k := id{c.Address, c.From, c.Action, c.Reason, string(c.Before), string(c.After), c.Kind, c.Note, c.Conflict,
			c.Source.String(), strings.Join(c.Unknown, "\x00"), c.Simulated}
		if n, ok := index[k]; ok {
			out[n].Scopes = append(out[n].Scopes, c.Scope)
			continue
		}
		index[k] = len(out)
		out = append(out, Group{c, []plan.Scope{c.Scope}})
	}
	list := make(map[*plan.Scope]string, len(out))
	for _, g := range out {
		list[&g.Scopes[0]] = Scopes(g.Scopes)
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		return strings.Compare(list[&a.Scopes[0]], list[&b.Scopes[0]])
	})
	return out
}

// maxNames is how many names or ranges of names are listed.
const maxNames = 12

// Scopes lists scopes in few words: "3 scopes: web[01-03].example.com"; a
// single one is its name.
func Scopes(scopes []plan.Scope) string {
	if len(scopes) == 1 {
		return Line(string(scopes[0]))
	}
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return fmt.Sprintf("%d scopes: %s", len(names), Names(names))
}

// Names lists names compactly: those that differ in one number only become a
// range, web[01-03,07].
func Names(names []string) string {
	var parts []string
	for _, r := range ranges(names) {
		parts = append(parts, r.String())
	}
	if len(parts) > maxNames {
		parts = append(parts[:maxNames:maxNames], fmt.Sprintf("and %d more", len(parts)-maxNames))
	}
	return strings.Join(parts, ", ")
}

// numbered is a family of names that differ in one number.
type numbered struct {
	prefix, suffix string
	width          int // of padded numbers; 0 is not padded
	numbers        []int
	plain          bool // one name without a number: prefix
}

// String gives web07, or web[01-03,07].
func (n numbered) String() string {
	if n.plain {
		return Line(n.prefix)
	}
	num := func(x int) string { return fmt.Sprintf("%0*d", max(n.width, 1), x) }
	slices.Sort(n.numbers)
	list := slices.Compact(n.numbers)
	if len(list) == 1 {
		return Line(n.prefix + num(list[0]) + n.suffix)
	}
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, num(list[i]))
		} else {
			parts = append(parts, num(list[i])+"-"+num(list[j]))
		}
		i = j + 1
	}
	return Line(n.prefix) + "[" + strings.Join(parts, ",") + "]" + Line(n.suffix)
}

// ranges sorts names into families, in the order of their names.
func ranges(names []string) []numbered {
	type family struct {
		prefix, suffix string
		width          int
	}
	padded := map[[2]string]bool{}
	type cut struct {
		prefix, digits, suffix string
		ok                     bool
	}
	cuts := make([]cut, len(names))
	for i, name := range names {
		c := &cuts[i]
		c.prefix, c.digits, c.suffix, c.ok = cutNumber(name)
		if c.ok && len(c.digits) > 1 && c.digits[0] == '0' {
			padded[[2]string{c.prefix, c.suffix}] = true
		}
	}
	index := map[family]int{}
	var out []numbered
	for i, name := range names {
		c := cuts[i]
		n, err := strconv.Atoi(c.digits)
		if !c.ok || err != nil {
			out = append(out, numbered{prefix: name, plain: true})
			continue
		}
		f := family{prefix: c.prefix, suffix: c.suffix}
		if padded[[2]string{c.prefix, c.suffix}] {
			f.width = len(c.digits)
		}
		at, ok := index[f]
		if !ok {
			at = len(out)
			index[f] = at
			out = append(out, numbered{prefix: f.prefix, suffix: f.suffix, width: f.width})
		}
		out[at].numbers = append(out[at].numbers, n)
	}
	slices.SortStableFunc(out, func(a, b numbered) int {
		return cmp.Or(strings.Compare(a.prefix, b.prefix), strings.Compare(a.suffix, b.suffix), a.width-b.width)
	})
	return out
}

// maxDigits bounds a number in a name; a longer one is part of the name.
const maxDigits = 9

// cutNumber finds the number that tells names of one kind apart: the last one
// of the first label, or of the whole name.
func cutNumber(name string) (prefix, digits, suffix string, ok bool) {
	label := name
	if i := strings.IndexByte(name, '.'); i >= 0 && strings.ContainsAny(name[:i], "0123456789") {
		label = name[:i]
	}
	if _, err := netip.ParseAddr(name); err == nil {
		label = name
	}
	end := strings.LastIndexAny(label, "0123456789") + 1
	if end == 0 {
		return name, "", "", false
	}
	start := end
	for start > 0 && label[start-1] >= '0' && label[start-1] <= '9' {
		start--
	}
	if end-start > maxDigits {
		return name, "", "", false
	}
	return name[:start], name[start:end], name[end:], true
}
