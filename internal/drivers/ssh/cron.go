package ssh

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// cronKind is jobs of cron: files of their own in /etc/cron.d, or blocks in
// the crontabs of users.
type cronKind struct{}

const (
	kindCron = "cron"
	cronDir  = "/etc/cron.d"
)

type cronEntry struct {
	Schedule string            `yaml:"schedule"`
	Command  string            `yaml:"command"`
	User     string            `yaml:"user,omitempty"`
	Env      map[string]string `yaml:"env,omitempty"`
	// Crontab puts the job into the user's own crontab.
	Crontab bool `yaml:"crontab,omitempty"`
}

// cronState is a job as it is written.
type cronState struct {
	User    string `json:"user"`
	Crontab bool   `json:"crontab,omitempty"`
	Text    string `json:"text"`
	// Hidden tells that the text is that of others.
	Hidden bool `json:"sensitive,omitempty"`

	sum string // of the observed file
	all string // the observed crontab
}

func (cronKind) info() kindInfo {
	return kindInfo{names: []string{kindCron}, sections: []string{"cron"}, class: "job", rank: rankSetting,
		blank: func(string) state { return &cronState{} }}
}

func (s *cronState) ident() string {
	return identOf([]any{s.Text, s.Crontab, s.Crontab && s.User != "", s.who()})
}

func (s *cronState) show() (any, []string) {
	if s.Hidden {
		return s, []string{"/text"}
	}
	return s, nil
}

// who is the user whose crontab it is; in a file the text says it.
func (s *cronState) who() string {
	if s.Crontab {
		return s.User
	}
	return ""
}

var cronUser = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)

func (cronKind) parse(p *parser, e entry) []*object {
	var y cronEntry
	n := p.Errors()
	p.Decode(e.value, &y, e.field)
	if y.User == "" {
		y.User = "root"
	}
	if !cronNamePattern.MatchString(e.name) {
		p.Errorf(e.key, e.field, "use letters, digits, _ and -: cron reads no other names", "%q is no name of a job", e.name)
	}
	if err := checkSchedule(y.Schedule); err != nil {
		p.Errorf(e.value, e.field+".schedule", `for example "15 3 * * *", or @daily`, "%v", err)
	}
	if y.Command == "" || strings.ContainsAny(y.Command, "\n\r\x00") {
		p.Errorf(e.value, e.field+".command", "give one line; longer things belong into a script", "expected a command")
	}
	if !cronUser.MatchString(y.User) {
		p.Errorf(e.value, e.field+".user", "", "%q is no user", y.User)
	}
	for _, k := range sortedKeys(y.Env) {
		if !envNamePattern.MatchString(k) || strings.ContainsAny(y.Env[k], "\n\r\x00") {
			p.Errorf(e.value, e.field+".env", "", "%q can't be set for a job", k)
		}
	}
	if p.Errors() > n {
		return nil
	}
	j := cronJob{Schedule: y.Schedule, User: y.User, Command: y.Command, Env: y.Env}
	s := &cronState{User: y.User, Crontab: y.Crontab, Text: j.file()}
	if y.Crontab {
		s.Text = j.block(e.name)
	}
	return []*object{{Kind: kindCron, Address: plan.Address(kindCron + ":" + e.name), State: s}}
}

func (cronKind) look(p *probe, subjects []subject) {
	for _, sub := range subjects {
		for _, s := range cronPlaces(sub) {
			if !s.Crontab {
				p.content(cronDir + "/" + nameOf(sub.address))
				continue
			}
			// No crontab yet is an empty one; what else crontab says is an error.
			p.part("crontab "+s.User, "if v=$(crontab -l -u "+quote(s.User)+" 2>&1; echo \"s$?\"); then :; fi\necho ${#v}\nprintf '%s\\n' \"$v\"\necho -")
		}
	}
}

// cronPlaces gives where a job may be: where it is wanted, and where it was.
func cronPlaces(sub subject) []*cronState {
	var out []*cronState
	if s, ok := stateAs[*cronState](sub.want); ok {
		out = append(out, s)
	}
	if s, ok := sub.was.(*cronState); ok && (len(out) == 0 || out[0].Crontab != s.Crontab || out[0].who() != s.who()) {
		out = append(out, s)
	}
	return out
}

// crontabOf reads what crontab -l said.
func crontabOf(a *answer, user string) (string, error) {
	texts, err := framed(a.part("crontab " + user))
	if err != nil || len(texts) != 1 {
		return "", fmt.Errorf("the crontab of %s: %w", user, errMoved)
	}
	text, status, ok := cutLast(texts[0], "s")
	switch {
	case ok && status == "0":
		return text, nil
	case ok && strings.Contains(text, "no crontab for"), ok && strings.Contains(text, "can't open '"+user+"'"):
		return "", nil
	case ok && (strings.Contains(text, "unknown user") || strings.Contains(text, "user `"+user+"' unknown") || strings.Contains(text, "unknown uid")):
		return "", nil // made in the same run, maybe: writing will tell
	}
	return "", fmt.Errorf("the crontab of %s can't be read: %s", user, worded(clip(text)))
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (cronKind) observe(a *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		name := nameOf(sub.address)
		// Where it was comes last, and counts: it has to leave from there.
		places := cronPlaces(sub)
		slices.Reverse(places)
		for _, s := range places {
			st := &cronState{User: s.User, Crontab: s.Crontab}
			if s.Crontab {
				all, err := crontabOf(a, s.User)
				if err != nil {
					return nil, err
				}
				_, block, _, err := cutCrontab(all, name)
				if err != nil {
					return nil, fmt.Errorf("the crontab of %s: %w", s.User, err)
				}
				if block == "" {
					continue
				}
				st.Text, st.all = block, all
			} else {
				at := cronDir + "/" + name
				b, ok := a.content(at)
				if !ok {
					if a.path(at) != nil {
						return nil, fmt.Errorf("%s is there, but is no small file", at)
					}
					continue
				}
				st.Text, st.sum = string(b), a.path(at).Sum
			}
			st.Hidden = sub.hides([]byte(st.Text), func(s state) (string, bool) {
				if c, ok := s.(*cronState); ok {
					return c.Text, false
				}
				return "", false
			})
			out = append(out, &object{Kind: kindCron, Address: sub.address, State: st})
			break
		}
	}
	return out, nil
}

func (cronKind) write(w *writer, steps []step) {
	w.functions()
	tabs := map[string]string{} // crontabs as they become step by step
	for _, st := range steps {
		name := nameOf(st.Change.Address)
		s, _ := newState(st).(*cronState)
		old, _ := oldState(st).(*cronState)
		var cmds []string
		if old != nil && (s == nil || s.Crontab != old.Crontab || s.who() != old.who()) {
			cmds = append(cmds, w.cronGoes(name, old, tabs)...)
			old = nil
		}
		if s != nil {
			cmds = append(cmds, w.cronComes(name, s, old, tabs)...)
		}
		w.try([]step{st}, cmds...)
	}
}

func (w *writer) cronGoes(name string, old *cronState, tabs map[string]string) []string {
	if old.Crontab {
		return w.crontab(name, old.User, "", tabs)
	}
	return []string{"( enter " + cronDir + " && mine && sum " + old.sum + " ./" + name + " && rm -f -- ./" + name + " )"}
}

func (w *writer) cronComes(name string, s, old *cronState, tabs map[string]string) []string {
	if s.Crontab {
		return w.crontab(name, s.User, s.Text, tabs)
	}
	check := "free ../" + name
	if old != nil {
		check = "sum " + old.sum + " ../" + name
	}
	return []string{"{ [ -d " + cronDir + " ] || mkdir -m 755 " + cronDir + "; }", "enter " + cronDir, "mine", "stage", check,
		inline([]byte(s.Text)) + " | put 644 " + name}
}

// crontab puts a block into a user's crontab, or takes it out. All else in it
// stays, and the crontab must still be what was read.
func (w *writer) crontab(name, user, block string, tabs map[string]string) []string {
	have, ok := tabs[user]
	if !ok {
		var err error
		if have, err = crontabOf(w.host.answer, user); err != nil {
			return []string{"{ echo " + quote(err.Error()) + "; false; }"}
		}
	}
	before, _, after, err := cutCrontab(have, name)
	if err != nil {
		return []string{"{ echo " + quote(err.Error()) + "; false; }"}
	}
	if block != "" && before != "" && !strings.HasSuffix(before, "\n") {
		before += "\n"
	}
	tabs[user] = before + block + after
	u := quote(user)
	return []string{
		"{ [ \"$(crontab -l -u " + u + " 2>/dev/null; echo .)\" = " + quote(have+".") + " ] || changed " + quote("the crontab of "+user) + "; }",
		inline([]byte(before+block+after)) + " | crontab -u " + u + " -"}
}
