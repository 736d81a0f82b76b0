package ssh

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// HostCommand is a program that the operator allows on hosts. Repositories
// name it; they never say what is run.
type HostCommand struct {
	// Run is the program with its arguments. No shell takes part.
	Run []string `yaml:"run" json:"run" strict:"one" jsonschema:"required"`
	// Unless is a program that tells whether Run is needed: it is not, when
	// this one ends with 0. It is run whenever the host is read, so it must
	// change nothing.
	Unless []string `yaml:"unless,omitempty" json:"unless,omitempty" strict:"one"`
	// Creates is a path: Run is not needed once it is there.
	Creates string `yaml:"creates,omitempty" json:"creates,omitempty"`
	// Dir is where it runs; / by default.
	Dir string `yaml:"dir,omitempty" json:"dir,omitempty"`
	// Env is its environment, beside PATH and HOME.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Timeout ends it; 5m by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
}

const defaultCommandTime = 5 * time.Minute

// validate checks an operator's command.
func (c *HostCommand) validate(d *plan.Diagnostics, field string) {
	at := plan.Source{}
	if len(c.Run) == 0 || c.Run[0] == "" {
		d.Errorf(at, field+".run", "give the program and its arguments as a list", "is missing")
	}
	if c.Creates != "" && !path.IsAbs(c.Creates) {
		d.Errorf(at, field+".creates", "", "%q is no absolute path", c.Creates)
	}
	if c.Dir != "" && !path.IsAbs(c.Dir) {
		d.Errorf(at, field+".dir", "", "%q is no absolute path", c.Dir)
	}
	if c.Timeout < 0 {
		d.Errorf(at, field+".timeout", "", "%s is negative", c.Timeout)
	}
	for k := range c.Env {
		if !envNamePattern.MatchString(k) {
			d.Errorf(at, field+".env", "", "%q is no name of a variable", k)
		}
	}
}

// checked tells whether it says when it is needed.
func (c *HostCommand) checked() bool { return len(c.Unless) > 0 || c.Creates != "" }

// shell gives the command as shell words; argv is Run or Unless.
func (c *HostCommand) shell(argv []string) string {
	var b strings.Builder
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultCommandTime
	}
	fmt.Fprintf(&b, "cd %s && within %d env -i PATH=\"$PATH\" HOME=\"$HOME\" LC_ALL=C.UTF-8", quote(dir), max(1, int(timeout.Seconds())))
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		b.WriteString(" " + quote(k+"="+c.Env[k]))
	}
	b.WriteString(" " + quoteAll(argv))
	return b.String()
}

// commandKind is commands of the operator's with a check.
type commandKind struct{}

const kindCommand = "command"

type commandEntry struct {
	// Command is the operator's; the entry's own name by default.
	Command string `yaml:"command,omitempty"`
}

// commandState is whether a command was carried out.
type commandState struct {
	Done    bool   `json:"done"`
	Command string `json:"command,omitempty"`

	name string
	does *HostCommand
}

func (commandKind) info() kindInfo {
	return kindInfo{names: []string{kindCommand}, sections: []string{"commands"}, class: "command", rank: rankCommand,
		blank: func(string) state { return &commandState{} }}
}

func (s *commandState) ident() string         { return identOf(s.Done) }
func (s *commandState) show() (any, []string) { return s, nil }

func (commandKind) parse(p *parser, e entry) []*object {
	var y commandEntry
	p.Decode(e.value, &y, e.field)
	if y.Command == "" {
		y.Command = e.name
	}
	return []*object{{Kind: kindCommand, Address: plan.Address(kindCommand + ":" + e.name),
		State: &commandState{Done: true, Command: y.Command, name: e.name}}}
}

// resolve finds the operator's command.
func (s *commandState) resolve(h *host) (state, error) {
	c, err := h.command(s.Command)
	if err != nil {
		return nil, err
	}
	if !c.checked() {
		return nil, fmt.Errorf("command %q has neither unless nor creates in the environment's connect.commands, so it can't be told whether it is done; a handler needs no check", s.Command)
	}
	with := *s
	with.does = c
	return &with, nil
}

// command finds an operator's command by its name.
func (h *host) command(name string) (*HostCommand, error) {
	if c, ok := h.commands[name]; ok {
		return &c, nil
	}
	names := slices.Sorted(maps.Keys(h.commands))
	if len(names) == 0 {
		return nil, fmt.Errorf("command %q is not among connect.commands of the environment, which has none", name)
	}
	return nil, fmt.Errorf("command %q is not among connect.commands of the environment; there are: %s", name, strings.Join(names, ", "))
}

func (commandKind) look(p *probe, subjects []subject) {
	for _, sub := range subjects {
		s, ok := stateAs[*commandState](sub.want)
		if !ok || s.does == nil {
			continue
		}
		var test []string
		if s.does.Creates != "" {
			at := quote(s.does.Creates)
			test = append(test, "{ [ -e "+at+" ] || [ -h "+at+" ]; }")
		}
		if len(s.does.Unless) > 0 {
			test = append(test, "( "+s.does.shell(s.does.Unless)+" )")
		}
		p.functions()
		p.part(markName(sub.address), "if "+strings.Join(test, " && ")+" >/dev/null 2>&1; then echo done; fi")
	}
}

// stateAs gives an object's state if it is of a type.
func stateAs[T state](o *object) (T, bool) {
	var none T
	if o == nil {
		return none, false
	}
	s, ok := o.State.(T)
	return s, ok
}

func (commandKind) observe(a *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		s, ok := stateAs[*commandState](sub.want)
		if !ok {
			continue // what was run is not undone
		}
		if strings.TrimSpace(string(a.part(markName(sub.address)))) == "done" {
			out = append(out, &object{Kind: kindCommand, Address: sub.address, State: &commandState{Done: true, Command: s.Command}})
		}
	}
	return out, nil
}

func (commandKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		s, ok := newState(st).(*commandState)
		if !ok || s.does == nil {
			fmt.Fprintf(w, "ok %d\n", w.id(st))
			continue
		}
		cmds := []string{s.does.shell(s.does.Run)}
		if s.does.Creates != "" {
			at := quote(s.does.Creates)
			cmds = append(cmds, "{ [ -e "+at+" ] || [ -h "+at+" ] || { echo "+quote("it ended well, but "+s.does.Creates+" is not there")+"; false; }; }")
		}
		if len(s.does.Unless) > 0 {
			cmds = append(cmds, "{ "+s.does.shell(s.does.Unless)+" || { echo 'it ended well, but its check (unless) still says that it is needed'; false; }; }")
		}
		w.try([]step{st}, cmds...)
	}
}

// note marks the change: what a command does is not known before.
func (commandKind) note(c *plan.Change, want, _ *object) {
	c.Simulated = true
	if s, ok := stateAs[*commandState](want); ok && c.Action.Writes() {
		c.Note = "runs the operator's command " + s.Command
	}
}
