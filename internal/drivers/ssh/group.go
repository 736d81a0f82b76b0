package ssh

import (
	"fmt"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// groupKind is the host's own groups.
type groupKind struct{}

const kindGroup = "group"

func (groupKind) info() kindInfo {
	return kindInfo{names: []string{kindGroup}, sections: []string{"groups"}, class: "group", rank: rankGroup,
		blank: func(string) state { return &groupState{} }}
}

type groupState struct {
	GID    string `json:"gid,omitempty"`    // "" where nobody decides it
	System bool   `json:"system,omitempty"` // counts when it is made
	line   string
}

func (s *groupState) ident() string { return identOf([]any{"group", s.GID}) }

func (s *groupState) show() (any, []string) { return s, nil }

type groupSpec struct {
	GID      *int     `yaml:"gid"`
	System   bool     `yaml:"system"`
	TakeOver bool     `yaml:"takeOver"`
	Notify   []string `yaml:"notify" strict:"one"`
}

const maxID = 1<<31 - 2

func (groupKind) parse(p *parser, e entry) []*object {
	var s groupSpec
	p.Decode(e.value, &s, e.field)
	if !p.accountName(e, "group") {
		return nil
	}
	st := &groupState{System: s.System, GID: p.id(e, "gid", s.GID)}
	return []*object{{Kind: kindGroup, Address: plan.Address("group:" + e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

// accountName checks the name of a user or group.
func (p *parser) accountName(e entry, what string) bool {
	if !ownerName.MatchString(e.name) || strings.Trim(e.name, "0123456789") == "" || len(e.name) > 32 {
		p.Errorf(e.key, e.field, "use up to 32 letters, digits, dots, dashes and underscores, a letter first", "%q is no name of a %s", e.name, what)
		return false
	}
	return true
}

// id reads a number of a user or group.
func (p *parser) id(e entry, field string, n *int) string {
	if n == nil {
		return ""
	}
	if *n < 0 || *n > maxID {
		p.Errorf(e.value, e.field+"."+field, "", "%d is not between 0 and %d", *n, maxID)
		return ""
	}
	return strconv.Itoa(*n)
}

func (groupKind) look(p *probe, _ []subject) { lookAccounts(p) }

func (groupKind) observe(a *answer, subs []subject) ([]*object, error) {
	acc := a.accounts()
	var out []*object
	for _, s := range subs {
		g := acc.groups[nameOf(s.address)]
		if g == nil || s.want == nil && g.GID == "0" {
			continue
		}
		st := &groupState{line: g.line}
		if open, ok := s.open().(*groupState); ok && open.GID != "" {
			st.GID = g.GID
		}
		out = append(out, &object{Kind: kindGroup, Address: s.address, State: st})
	}
	return out, nil
}

func (groupKind) write(w *writer, steps []step) {
	for _, st := range steps {
		name := nameOf(st.Change.Address)
		old := ""
		if st.Old != nil {
			old = st.Old.Value.State.(*groupState).line
		}
		base := fmt.Sprintf("entry /etc/group %s %s", quote(name), quote(old))
		switch {
		case st.New == nil:
			w.try([]step{st}, base, w.tool("groupdel", "groupdel "+quote(name), "delgroup", "delgroup "+quote(name)))
		case st.Old == nil:
			s := st.New.Value.State.(*groupState)
			add, bb := "groupadd", "addgroup"
			if s.System {
				add, bb = add+" -r", bb+" -S"
			}
			if s.GID != "" {
				add, bb = add+" -g "+s.GID, bb+" -g "+s.GID
			}
			w.try([]step{st}, base, w.tool("groupadd", add+" "+quote(name), "addgroup", bb+" "+quote(name)))
		default:
			s := st.New.Value.State.(*groupState)
			w.try([]step{st}, base, w.tool("groupmod", "groupmod -g "+s.GID+" "+quote(name), "", ""))
		}
	}
}

// tool gives the command of the first program that the host has: those of
// shadow, which most systems have, or those of busybox.
func (w *writer) tool(program, command, other, otherwise string) string {
	f := w.host.facts
	switch {
	case f.has(program):
		return command
	case other != "" && f.has(other):
		return otherwise
	}
	return fmt.Sprintf("{ echo %s; false; }", quote("the host has no "+program+" (on Alpine: apk add shadow)"))
}
