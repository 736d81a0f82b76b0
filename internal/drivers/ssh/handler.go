package ssh

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/plan"
)

// handlerKind is what runs once after changes: a command of the operator's,
// or a unit's restart or reload.
type handlerKind struct{}

const kindHandler = "handler"

type handlerEntry struct {
	Command string   `yaml:"command,omitempty"`
	Restart string   `yaml:"restart,omitempty"`
	Reload  string   `yaml:"reload,omitempty"`
	Watch   []string `yaml:"watch,omitempty" strict:"one"`
}

// handlerState is whether a handler has to run.
type handlerState struct {
	Due     string `json:"due,omitempty"`
	Command string `json:"command,omitempty"`
	Restart string `json:"restart,omitempty"`
	Reload  string `json:"reload,omitempty"`

	name  string
	watch []string
	does  *HostCommand
}

func (handlerKind) info() kindInfo {
	return kindInfo{names: []string{kindHandler}, sections: []string{"handlers"}, class: "handler", rank: rankHandler,
		blank: func(string) state { return &handlerState{} }}
}

// ident: what a handler would do is no state of the host.
func (s *handlerState) ident() string         { return identOf(s.Due) }
func (s *handlerState) show() (any, []string) { return s, nil }
func (s *handlerState) isDue() string         { return s.Due }

func (handlerKind) parse(p *parser, e entry) []*object {
	var y handlerEntry
	n := p.Errors()
	p.Decode(e.value, &y, e.field)
	given := 0
	for _, x := range []string{y.Command, y.Restart, y.Reload} {
		if x != "" {
			given++
		}
	}
	if given != 1 {
		p.Errorf(e.value, e.field, "give one of command, restart and reload", "what the handler does is given %d times", given)
	}
	for field, unit := range map[string]string{"restart": y.Restart, "reload": y.Reload} {
		if unit != "" && !unitPattern.MatchString(unit) {
			p.Errorf(e.value, e.field+"."+field, "write a unit with its type, for example app.service", "%q is no name of a unit", unit)
		}
	}
	for _, g := range y.Watch {
		if !strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) {
			p.Errorf(e.value, e.field+".watch", "write paths on the host, for example /etc/app/**", "%q is no glob of an absolute path", g)
		}
	}
	if p.Errors() > n {
		return nil
	}
	return []*object{{Kind: kindHandler, Address: plan.Address(kindHandler + ":" + e.name), TakeOver: true,
		State: &handlerState{Command: y.Command, Restart: y.Restart, Reload: y.Reload, name: e.name, watch: y.Watch}}}
}

// resolve finds the operator's command.
func (s *handlerState) resolve(h *host) (state, error) {
	if s.Command == "" {
		return s, nil
	}
	c, err := h.command(s.Command)
	if err != nil {
		return nil, err
	}
	with := *s
	with.does = c
	return &with, nil
}

func (s *handlerState) due(changed []*object) string {
	if notified(changed, s.name) || touchedPath(changed, s.watch) {
		return dueRun
	}
	return ""
}

func (s *handlerState) with(observed state, word string) state {
	o, ok := observed.(*handlerState)
	if !ok {
		return observed
	}
	with := *o
	with.Due = word
	return &with
}

func (handlerKind) look(p *probe, _ []subject) { askMarks(p) }

// observe: a handler is there as soon as somebody asks for it.
func (handlerKind) observe(_ *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		if s, ok := stateAs[*handlerState](sub.want); ok {
			have := handlerState{Command: s.Command, Restart: s.Restart, Reload: s.Reload}
			out = append(out, &object{Kind: kindHandler, Address: sub.address, State: &have})
		}
	}
	return out, nil
}

func (handlerKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		s, ok := newState(st).(*handlerState)
		if !ok {
			fmt.Fprintf(w, "ok %d\n", w.id(st))
			continue
		}
		run := "false"
		switch {
		case s.does != nil:
			run = s.does.shell(s.does.Run)
		case s.Restart != "":
			run = "started " + quote(s.Restart) + " restart"
		case s.Reload != "":
			run = "started " + quote(s.Reload) + " reload-or-restart"
		}
		w.try([]step{st}, run, "unmark "+quote(markName(st.Change.Address)))
	}
}

// note marks the change: what a handler does is not known before.
func (handlerKind) note(c *plan.Change, _, _ *object) {
	c.Simulated = true
	if c.Action.Writes() {
		c.Note = "runs once, after the other changes"
	}
}
