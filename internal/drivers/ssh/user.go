package ssh

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// userKind is the host's own users.
type userKind struct{}

const kindUser = "user"

func (userKind) info() kindInfo {
	return kindInfo{names: []string{kindUser}, sections: []string{"users"}, class: "user", rank: rankUser,
		blank: func(string) state { return &userState{} }}
}

// userState is one user. What is empty nobody decides.
type userState struct {
	UID     string `json:"uid,omitempty"`
	Group   string `json:"group,omitempty"`
	Home    string `json:"home,omitempty"`
	Shell   string `json:"shell,omitempty"`
	Comment string `json:"comment,omitempty"`
	// Groups are all groups beside the first; nil where nobody decides them.
	Groups   []string `json:"groups"`
	System   bool     `json:"system,omitempty"` // counts when it is made
	Disabled bool     `json:"disabled"`
	NoHome   bool     `json:"noHome,omitempty"` // counts when it is made
	line     string
}

func (s *userState) ident() string {
	return identOf([]any{s.UID, s.Group, s.Home, s.Shell, s.Comment, s.Groups, s.Disabled})
}

func (s *userState) show() (any, []string) { return s, nil }

type userSpec struct {
	UID        *int      `yaml:"uid"`
	Group      string    `yaml:"group"`
	Groups     *[]string `yaml:"groups"`
	Home       string    `yaml:"home"`
	Shell      string    `yaml:"shell"`
	Comment    string    `yaml:"comment"`
	System     bool      `yaml:"system"`
	CreateHome *bool     `yaml:"createHome"`
	Disabled   bool      `yaml:"disabled"`
	TakeOver   bool      `yaml:"takeOver"`
	Notify     []string  `yaml:"notify" strict:"one"`
}

func (userKind) parse(p *parser, e entry) []*object {
	var s userSpec
	p.Decode(e.value, &s, e.field)
	if !p.accountName(e, "user") {
		return nil
	}
	p.owners(e, "", s.Group)
	st := &userState{UID: p.id(e, "uid", s.UID), Group: s.Group, Home: s.Home, Shell: s.Shell, Comment: s.Comment, System: s.System, Disabled: s.Disabled}
	st.NoHome = s.System && s.CreateHome == nil || s.CreateHome != nil && !*s.CreateHome
	for field, v := range map[string]string{"home": s.Home, "shell": s.Shell} {
		if v != "" && (!path.IsAbs(v) || path.Clean(v) != v || strings.ContainsAny(v, ":\n\x00")) {
			p.Errorf(e.value, e.field+"."+field, "write an absolute path", "%q is no %s", v, field)
		}
	}
	if strings.ContainsAny(s.Comment, ":\n\x00") {
		p.Errorf(e.value, e.field+".comment", "", "a comment may hold no colon and no line break")
	}
	if s.Disabled && e.name == "root" {
		p.Errorf(e.value, e.field+".disabled", "", "root is never disabled")
	}
	if s.Groups != nil {
		st.Groups = append([]string{}, *s.Groups...)
		slices.Sort(st.Groups)
		st.Groups = slices.Compact(st.Groups)
		for _, g := range st.Groups {
			if !ownerName.MatchString(g) {
				p.Errorf(e.value, e.field+".groups", "", "%q is no name of a group", g)
			}
		}
	}
	return []*object{{Kind: kindUser, Address: plan.Address("user:" + e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

func (userKind) look(p *probe, _ []subject) { lookAccounts(p) }

func (userKind) observe(a *answer, subs []subject) ([]*object, error) {
	acc := a.accounts()
	var out []*object
	for _, s := range subs {
		name := nameOf(s.address)
		u := acc.users[name]
		if u == nil || s.want == nil && (name == "root" || u.UID == "0" || a.facts.works(name)) {
			continue // root, and who works here, are given up but never removed
		}
		open, _ := s.open().(*userState)
		out = append(out, &object{Kind: kindUser, Address: s.address, State: acc.state(u, open)})
	}
	return out, nil
}

// state gives what there is of a user, as far as open decides it.
func (a *accounts) state(u *account, open *userState) *userState {
	st := &userState{line: u.line, Disabled: a.disabled(u)}
	if open == nil {
		return st
	}
	set := func(asked, have string) string {
		if asked == "" {
			return ""
		}
		return have
	}
	st.UID, st.Home, st.Shell, st.Comment = set(open.UID, u.UID), set(open.Home, u.Home), set(open.Shell, u.Shell), set(open.Comment, u.Comment)
	st.Group = whose(open.Group, a.groupName(u.GID), u.GID)
	if open.Groups != nil {
		st.Groups = []string{}
		for _, g := range a.groups {
			if slices.Contains(g.Members, u.Name) {
				st.Groups = append(st.Groups, g.Name)
			}
		}
		slices.Sort(st.Groups)
	}
	return st
}

// leave gives what becomes of a user that nobody asks for now: disabled, and
// only then, if that is wanted, deleted.
func (userKind) leave(h *host, owned driver.Owned) *object {
	name := nameOf(owned.Address)
	was, ok := recall(owned).(*userState)
	if name == "root" || h.facts != nil && h.facts.works(name) {
		return nil
	}
	if !ok {
		was = &userState{}
	}
	if was.Disabled && h.spec.OnLeave == LeaveDelete && !owned.Pending {
		return nil
	}
	with := *was
	with.Disabled = true
	return &object{Kind: kindUser, Address: owned.Address, State: &with}
}

// note shows a user that leaves as disabled.
func (userKind) note(c *plan.Change, want, have *object) {
	if want == nil || have == nil || c.Action != plan.Update {
		return
	}
	w, h := want.State.(*userState), have.State.(*userState)
	if w.Disabled && !h.Disabled {
		c.Action = plan.Disable
		c.Impact = []plan.Impact{{Class: "user", Disable: 1}}
	}
}

func (userKind) write(w *writer, steps []step) {
	for _, st := range steps {
		name := nameOf(st.Change.Address)
		old := &userState{}
		if st.Old != nil {
			old = st.Old.Value.State.(*userState)
		}
		base := fmt.Sprintf("entry /etc/passwd %s %s", quote(name), quote(old.line))
		if st.New == nil {
			if name == "root" || w.host.facts.works(name) {
				w.try([]step{st}, "{ echo 'root, and the user who works on the host, are never removed'; false; }")
				continue
			}
			w.try([]step{st}, base, w.tool("userdel", "userdel "+quote(name), "deluser", "deluser "+quote(name)))
			continue
		}
		s := st.New.Value.State.(*userState)
		if s.Disabled && (name == "root" || w.host.facts.works(name)) {
			w.try([]step{st}, "{ echo 'root, and the user who works on the host, are never disabled'; false; }")
			continue
		}
		cmds := []string{base}
		if st.Old == nil {
			cmds = append(cmds, w.addUser(name, s)...)
		} else if change := changeUser(name, s, old); change != "" {
			cmds = append(cmds, w.tool("usermod", change, "", ""))
		}
		if s.Disabled != old.Disabled {
			cmds = append(cmds, w.switchUser(name, s.Disabled))
		}
		w.try([]step{st}, cmds...)
	}
}

// addUser gives the commands that make a user.
func (w *writer) addUser(name string, s *userState) []string {
	add, bb := []string{"useradd"}, []string{"adduser", "-D"}
	opt := func(value, flag, other string) {
		if value != "" {
			add = append(add, flag, value)
			if other != "" {
				bb = append(bb, other, value)
			}
		}
	}
	if s.System {
		add, bb = append(add, "-r"), append(bb, "-S")
	}
	opt(s.UID, "-u", "-u")
	opt(orElse(s.Home, "/home/"+name), "-d", "-h")
	opt(s.Shell, "-s", "-s")
	opt(s.Comment, "-c", "-g")
	if s.NoHome {
		add, bb = append(add, "-M"), append(bb, "-H")
	} else {
		add = append(add, "-m")
	}
	group := `"$g"`
	prelude := "g=; if has_group " + quote(name) + "; then g=" + quote(name) + "; fi"
	if s.Group != "" {
		prelude = "g=" + quote(s.Group)
	}
	groups := ""
	if len(s.Groups) > 0 {
		groups = " -G " + quote(strings.Join(s.Groups, ","))
	}
	shadow := quoteAll(add) + groups + " ${g:+-g " + group + "} " + quote(name)
	busy := quoteAll(bb) + " ${g:+-G " + group + "} " + quote(name)
	for _, g := range s.Groups {
		busy += " && addgroup " + quote(name) + " " + quote(g)
	}
	return []string{prelude, w.tool("useradd", shadow, "adduser", busy)}
}

// changeUser gives the usermod that turns one state into another, "" for none.
func changeUser(name string, s, old *userState) string {
	cmd := []string{"usermod"}
	opt := func(want, have, flag string) {
		if want != have {
			cmd = append(cmd, flag, want)
		}
	}
	opt(s.UID, old.UID, "-u")
	opt(s.Group, old.Group, "-g")
	opt(s.Home, old.Home, "-d")
	opt(s.Shell, old.Shell, "-s")
	opt(s.Comment, old.Comment, "-c")
	if !slices.Equal(s.Groups, old.Groups) {
		cmd = append(cmd, "-G", strings.Join(s.Groups, ","))
	}
	if len(cmd) == 1 {
		return ""
	}
	return quoteAll(append(cmd, name))
}

// switchUser gives the command that disables a user or lets them in again. The
// account ends, so that keys don't open it either.
func (w *writer) switchUser(name string, off bool) string {
	if off {
		return w.tool("usermod", "usermod -L -e 1970-01-02 "+quote(name), "", "")
	}
	return w.tool("usermod", "usermod -e '' "+quote(name)+" && { usermod -U "+quote(name)+" 2>/dev/null || :; }", "", "")
}
