package ssh

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/plan"
)

// unitKind is systemd units: the unit's file, whether it starts with the
// host, whether it runs, and whether it must not run at all. A unit restarts
// when its own file or one of the files it names has changed.
type unitKind struct{}

const (
	kindUnit = "unit"
	unitDir  = "/etc/systemd/system"
	maxUnit  = 256 << 10
)

var unitPattern = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,200}\.(service|socket|timer|path|target|mount|automount|swap|slice)$`)

// unitEntry is a unit in host.yaml.
type unitEntry struct {
	File     string   `yaml:"file,omitempty"`
	Template string   `yaml:"template,omitempty"`
	Content  string   `yaml:"content,omitempty"`
	Enabled  *bool    `yaml:"enabled,omitempty"`
	Running  *bool    `yaml:"running,omitempty"`
	Masked   *bool    `yaml:"masked,omitempty"`
	Restart  []string `yaml:"restart,omitempty" strict:"one"`
	Reload   []string `yaml:"reload,omitempty" strict:"one"`
}

// unitState is what a unit is.
type unitState struct {
	// Content is the unit's file below /etc/systemd/system, nil where the
	// repository does not have it.
	Content *string  `json:"content,omitempty"`
	Enabled *bool    `json:"enabled,omitempty"`
	Running *bool    `json:"running,omitempty"`
	Masked  *bool    `json:"masked,omitempty"`
	Due     string   `json:"due,omitempty"` // restart or reload
	Restart []string `json:"restartOn,omitempty"`
	Reload  []string `json:"reloadOn,omitempty"`

	name string
	tmpl *tmpl
	// Secret tells that the content is not shown: it holds a secret value, or
	// is that of others.
	Secret bool `json:"sensitive,omitempty"`
	// sum is the observed file's, for the check before it is replaced.
	sum string
}

func (unitKind) info() kindInfo {
	return kindInfo{names: []string{kindUnit}, sections: []string{"units"}, class: "unit", rank: rankService,
		blank: func(string) state { return &unitState{} }}
}

func (s *unitState) ident() string {
	return identOf(unitState{Content: s.Content, Enabled: s.Enabled, Running: s.Running, Masked: s.Masked, Due: s.Due})
}

func (s *unitState) show() (any, []string) {
	doc := *s
	doc.Restart, doc.Reload = nil, nil
	if s.Secret {
		return doc, []string{"/content"}
	}
	return doc, nil
}

func (s *unitState) isDue() string { return s.Due }

func (unitKind) parse(p *parser, e entry) []*object {
	var y unitEntry
	n := p.Errors()
	p.Decode(e.value, &y, e.field)
	if !unitPattern.MatchString(e.name) {
		p.Errorf(e.key, e.field, "write it with its type, for example app.service", "%q is no name of a unit", e.name)
	}
	s := &unitState{Enabled: y.Enabled, Running: y.Running, Masked: y.Masked, Restart: y.Restart, Reload: y.Reload, name: e.name}
	for field, globs := range map[string][]string{"restart": y.Restart, "reload": y.Reload} {
		for _, g := range globs {
			if !strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) {
				p.Errorf(e.value, e.field+"."+field, "write paths on the host, for example /etc/app/**", "%q is no glob of an absolute path", g)
			}
		}
	}
	s.file(p, e, &y)
	managed := s.Content != nil || s.tmpl != nil
	switch {
	case y.Masked != nil && *y.Masked && (managed || y.Running != nil && *y.Running || y.Enabled != nil && *y.Enabled):
		p.Errorf(e.value, e.field+".masked", "leave file, enabled and running out", "a masked unit has no file, and neither starts nor runs")
	case !managed && y.Enabled == nil && y.Running == nil && y.Masked == nil && len(y.Restart)+len(y.Reload) == 0:
		p.Errorf(e.key, e.field, "give one of file, enabled, running, masked, restart, reload", "nothing is asked for")
	case strings.Contains(e.name, "@.") && (y.Running != nil || y.Enabled != nil):
		p.Errorf(e.key, e.field, "name an instance, for example app@1.service", "a template unit itself can't be enabled or run")
	}
	if p.Errors() > n {
		return nil
	}
	// A unit of a package is there before anybody asks for it.
	return []*object{{Kind: kindUnit, Address: plan.Address(kindUnit + ":" + e.name), State: s, TakeOver: !managed}}
}

// file reads the unit's file, which may be a file, a template or stand in place.
func (s *unitState) file(p *parser, e entry, y *unitEntry) {
	given := 0
	for _, x := range []string{y.File, y.Template, y.Content} {
		if x != "" {
			given++
		}
	}
	if given > 1 {
		p.Errorf(e.value, e.field, "give one of them", "file, template and content exclude each other")
		return
	}
	text, at, field := y.Content, p.At(e.value), "content"
	if name := y.File + y.Template; name != "" {
		field = "file"
		if y.Template != "" {
			field = "template"
		}
		full, ok := p.source(e, field, name)
		if !ok {
			return
		}
		b, err := p.bytes(full, maxUnit)
		if err != nil {
			p.Errorf(e.value, e.field+"."+field, "", "%v", err)
			return
		}
		text, at = string(b), plan.Source{File: full, Line: 1}
	}
	if given == 0 {
		return
	}
	if strings.ContainsRune(text, 0) || !strings.Contains(text, "[") {
		p.Errorf(e.value, e.field+"."+field, "a unit has sections such as [Service]", "this is no unit file")
		return
	}
	if y.Template == "" {
		s.Content = &text
		return
	}
	t, err := parseTemplate(text, at)
	if err != nil {
		p.Diags = append(p.Diags, templateError(err, at, e.field+".template"))
		return
	}
	p.uses(t)
	s.tmpl = t
}

// resolve fills the template in.
func (s *unitState) resolve(h *host) (state, error) {
	if s.tmpl == nil {
		return s, nil
	}
	out, err := s.tmpl.render(h)
	if err != nil {
		return nil, err
	}
	with := *s
	text := string(out.text)
	with.Content, with.tmpl, with.Secret = &text, nil, out.sensitive
	return &with, nil
}

// due: the unit restarts when what it names has changed.
func (s *unitState) due(changed []*object) string {
	own := []string{unitDir + "/" + s.name, unitDir + "/" + s.name + ".d/**"}
	for _, o := range changed {
		if u, ok := o.State.(*unitState); ok && u.name == s.name && u.Content != nil {
			return dueRestart
		}
	}
	switch {
	case touchedPath(changed, append(own, s.Restart...)):
		return dueRestart
	case touchedPath(changed, s.Reload):
		return dueReload
	}
	return ""
}

func (s *unitState) with(observed state, word string) state {
	u, ok := observed.(*unitState)
	if !ok || u.Running != nil && !*u.Running {
		return observed // what does not run is not restarted
	}
	if s.Running != nil && !*s.Running {
		return observed
	}
	with := *u
	with.Due = word
	return &with
}

func (unitKind) look(p *probe, subjects []subject) {
	askMarks(p)
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = unitName(s.address)
		p.content(path.Join(unitDir, names[i]))
	}
	p.part("units", "systemctl show --no-pager -p "+unitProperties+" -- "+quoteAll(names)+" 2>&1")
}

func unitName(a plan.Address) string { return strings.TrimPrefix(string(a), kindUnit+":") }

func (unitKind) observe(a *answer, subjects []subject) ([]*object, error) {
	if a.facts.Init != "systemd" {
		return nil, errors.New("units are asked for, but the host does not run systemd")
	}
	units, err := parseUnitShow(string(a.part("units")), len(subjects))
	if err != nil {
		return nil, err
	}
	var out []*object
	for i, sub := range subjects {
		open, _ := sub.open().(*unitState)
		if open == nil {
			continue
		}
		name := unitName(sub.address)
		st := observedUnit(open, units[i])
		st.name = name
		place := path.Join(unitDir, name)
		fact := a.path(place)
		if open.Content != nil {
			b, ok := a.content(place)
			switch {
			case fact == nil:
				continue // its file is not there: the unit is to be made
			case !ok || len(b) > 1<<20:
				return nil, fmt.Errorf("%s is there, but is no small file", place)
			}
			text := string(b)
			st.Content, st.sum = &text, fact.Sum
			st.Secret = sub.hides(b, func(s state) (string, bool) {
				if u, ok := s.(*unitState); ok && u.Content != nil {
					return *u.Content, u.Secret
				}
				return "", false
			})
		} else if sub.want == nil || units[i]["LoadState"] == "not-found" {
			continue // a unit of others is left as it is when nobody asks for it
		}
		out = append(out, &object{Kind: kindUnit, Address: sub.address, State: st})
	}
	return out, nil
}

// observedUnit says what systemd says, of what the repository decides.
func observedUnit(open *unitState, show map[string]string) *unitState {
	st := &unitState{}
	is := func(b bool) *bool { return &b }
	masked := show["LoadState"] == "masked"
	if open.Masked != nil {
		st.Masked = is(masked)
	} else if masked {
		st.Masked = is(true) // it stands in the way of what is asked for
	}
	if open.Enabled != nil {
		// What has no install section is as enabled as it can be when it is not to be.
		st.Enabled = is(slices.Contains([]string{"enabled", "alias"}, show["UnitFileState"]))
	}
	if open.Running != nil {
		st.Running = is(slices.Contains([]string{"active", "reloading", "activating", "refreshing"}, show["ActiveState"]) && show["SubState"] != "auto-restart")
	}
	return st
}
