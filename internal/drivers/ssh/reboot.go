package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// Reboot is what the operator allows about restarting hosts.
type Reboot struct {
	// Allow lets repositories ask for restarts.
	Allow bool `yaml:"allow" json:"allow"`
	// Command restarts the host; systemctl reboot, or reboot where there is no
	// systemd, by default.
	Command []string `yaml:"command,omitempty" json:"command,omitempty" strict:"one"`
	// Within is how long a host may take to come back; 10m by default.
	Within time.Duration `yaml:"within,omitempty" json:"within,omitempty"`
}

const defaultRebootTime = 10 * time.Minute

// rebootKind restarts the host when something asks for it, and waits until it
// is back with a new boot id.
type rebootKind struct{}

const kindReboot = "reboot"

type rebootEntry struct {
	// Required restarts when the host says that it needs to: Debian's
	// /run/reboot-required.
	Required bool     `yaml:"required,omitempty"`
	Watch    []string `yaml:"watch,omitempty" strict:"one"`
}

type rebootState struct {
	Due      string `json:"due,omitempty"`
	Required bool   `json:"required,omitempty"`

	name  string
	watch []string
	rule  *Reboot
}

func (rebootKind) info() kindInfo {
	return kindInfo{names: []string{kindReboot}, sections: []string{"reboots"}, class: "reboot", rank: rankReboot,
		blank: func(string) state { return &rebootState{} }}
}

func (s *rebootState) ident() string         { return identOf(s.Due) }
func (s *rebootState) show() (any, []string) { return s, nil }
func (s *rebootState) isDue() string         { return s.Due }

func (rebootKind) parse(p *parser, e entry) []*object {
	var y rebootEntry
	p.Decode(e.value, &y, e.field)
	for _, g := range y.Watch {
		if !strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) {
			p.Errorf(e.value, e.field+".watch", "write paths on the host, for example /etc/default/grub", "%q is no glob of an absolute path", g)
			return nil
		}
	}
	return []*object{{Kind: kindReboot, Address: plan.Address(kindReboot + ":" + e.name), TakeOver: true,
		State: &rebootState{Required: y.Required, name: e.name, watch: y.Watch}}}
}

// resolve asks the operator.
func (s *rebootState) resolve(h *host) (state, error) {
	if h.reboot == nil || !h.reboot.Allow {
		return nil, errors.New("a restart is asked for, but the environment does not allow it: connect.reboot.allow")
	}
	with := *s
	with.rule = h.reboot
	return &with, nil
}

func (s *rebootState) due(changed []*object) string {
	if notified(changed, s.name) || touchedPath(changed, s.watch) {
		return dueReboot
	}
	return ""
}

func (s *rebootState) with(observed state, word string) state {
	o, ok := observed.(*rebootState)
	if !ok || !strings.HasPrefix(word, dueReboot) {
		return observed
	}
	// A mark carries the boot id it was set under: with another one it is done.
	if _, boot, marked := strings.Cut(word, ":"); marked && boot != o.name {
		return observed
	}
	with := *o
	with.Due = dueReboot
	return &with
}

func (rebootKind) look(p *probe, _ []subject) {
	askMarks(p)
	p.path("/run/reboot-required")
}

func (rebootKind) observe(a *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		s, ok := stateAs[*rebootState](sub.want)
		if !ok {
			continue
		}
		have := &rebootState{Required: s.Required, name: a.facts.Boot}
		if s.Required && a.path("/run/reboot-required") != nil {
			have.Due = dueReboot
		}
		out = append(out, &object{Kind: kindReboot, Address: sub.address, State: have})
	}
	return out, nil
}

// write is never asked: a restart is no part of a script (see restart).
func (rebootKind) write(w *writer, steps []step) {
	w.try(steps, "{ echo 'a restart has to stand alone'; false; }")
}

func (rebootKind) note(c *plan.Change, _, _ *object) {
	c.Simulated = true
	if c.Action.Writes() {
		c.Note = "the host restarts, after all other changes"
	}
}

// restart restarts a host and waits until it is back. What the host says about
// its boots tells that it did.
func (s *set) restart(ctx context.Context, h *host, st step) error {
	state, ok := newState(st).(*rebootState)
	if !ok || state.rule == nil {
		return nil
	}
	before := h.facts.Boot
	if before == "" {
		return fmt.Errorf("%w: the host has no boot id, so it could not be told that it came back", setplan.ErrSkipped)
	}
	command := state.rule.Command
	if len(command) == 0 {
		command = []string{"reboot"}
		if h.facts.Init == "systemd" {
			command = []string{"systemctl", "reboot"}
		}
	}
	sc := newScript()
	// It has to outlive the connection, and to let the answer go out first.
	fmt.Fprintf(sc, "{ trap '' HUP; sleep 1; exec %s; } >/dev/null 2>&1 </dev/null &\n", quoteAll(command))
	if _, err := runScript(ctx, h.t, sc, false, maxAnswer); err != nil {
		return fmt.Errorf("%w: %w", setplan.ErrUnknown, err)
	}
	within := state.rule.Within
	if within == 0 {
		within = defaultRebootTime
	}
	if err := s.back(ctx, h, before, within); err != nil {
		return fmt.Errorf("%w: %w", setplan.ErrUnknown, err)
	}
	done := newScript()
	done.WriteString(kindsLib + "unmark " + quote(markName(st.Change.Address)) + "\n")
	_, err := runScript(ctx, h.t, done, false, maxAnswer)
	return err
}

// back waits until the host answers with another boot id.
func (s *set) back(ctx context.Context, h *host, before string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		one, stop := context.WithTimeout(ctx, 20*time.Second)
		a, err := newProbe().run(one, h.t)
		stop()
		if err == nil && a.facts.Boot != "" && a.facts.Boot != before {
			h.facts = a.facts
			s.remember(h)
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("the host did not come back within %s: %w", within, last)
			}
			return fmt.Errorf("the host still runs after %s: it did not restart", within)
		case <-time.After(time.Second):
		}
	}
}
