package ssh

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// session is the hosts of an environment. Connections are kept as long as it
// lives.
type session struct {
	env     driver.Environment
	connect *Connect
	purpose driver.Purpose
	dial    *dialer
	// over takes the place of dial where hosts are reached another way.
	over func(h *inventory.Host) (transport, error)
	// fixed takes the place of connect's inventory.
	fixed *inventory.Inventory
	close func() error

	mu    sync.Mutex
	shelf shelf
	facts map[string]*Facts // what hosts said last, by name
}

// Close ends the connections.
func (s *session) Close() error {
	err := s.shelf.close()
	if s.close == nil {
		return err
	}
	return errors.Join(err, s.close())
}

func (s *session) transport(h *inventory.Host) (transport, error) {
	if s.over != nil {
		return s.over(h)
	}
	if h.Agent {
		return nil, fmt.Errorf("%w: the host's agent calls in, nobody connects to it", driver.ErrUnreachable)
	}
	if s.dial == nil {
		return nil, driver.Permanent(fmt.Errorf("%s has no agent, and connect has neither knownHosts nor a key to connect with", h.Name))
	}
	return s.dial.transport(h)
}

// remember keeps a host's facts for templates.
func (s *session) remember(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts[h.Name] = h.facts
}

// Plan compares the document with the hosts.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	st, err := s.newSet(ctx, in)
	if err != nil {
		return nil, err
	}
	in, agents := st.withoutAgents()
	if err := st.gather(ctx, true, agents...); err != nil {
		return nil, err
	}
	p, err := setplan.Diff(in, st, st.want, st.read)
	if err != nil {
		return nil, err
	}
	p.Driver, p.Version, p.Warnings = "ssh", version, st.warn
	if err := st.notes(p); err != nil {
		return nil, err
	}
	return p, st.planAgents(ctx, p, agents)
}

// notes lets kinds add to their changes.
func (s *set) notes(p *plan.Plan) error {
	want, have := byKey(s.want), map[plan.Key]*object{}
	for i := range s.read {
		for k, o := range byKey(s.read[i].Items) {
			have[k] = o
		}
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if n, ok := kindOf(c.Kind).(noter); ok {
			n.note(c, want[c.Key], have[c.Key])
		}
	}
	return s.addTexts(p, want, have)
}

func byKey(items []item) map[plan.Key]*object {
	m := make(map[plan.Key]*object, len(items))
	for i := range items {
		m[items[i].Key] = items[i].Value
	}
	return m
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose != driver.Write {
		return driver.Permanent(errors.New("ssh: the session was opened to read"))
	}
	if len(p.Changes) == 0 {
		return nil
	}
	st, err := s.newSet(ctx, in)
	if err != nil {
		return err
	}
	st.keys = map[plan.Scope]map[plan.Address]bool{}
	for i := range p.Changes {
		c := &p.Changes[i]
		if len(c.Unknown) > 0 {
			return fmt.Errorf("%s waits for a value that is not known yet: %w", c.Key, driver.ErrStale)
		}
		if st.keys[c.Scope] == nil {
			st.keys[c.Scope] = map[plan.Address]bool{}
		}
		st.keys[c.Scope][c.Address] = true
		if c.From != "" {
			st.keys[c.Scope][c.From] = true
		}
	}
	rest, wait := st.applyAgents(ctx, withoutTexts(p), report)
	for name := range st.keys {
		if st.callsIn(name) {
			delete(st.keys, name)
		}
	}
	if len(rest.Changes) == 0 {
		return wait()
	}
	err = setplan.Apply(ctx, in, rest, st, report)
	return errors.Join(err, wait())
}

// refresh reads the inventory again, and the known_hosts files if they have
// changed: a session lives long, and both change without the configuration.
func (s *session) refresh() (*inventory.Inventory, error) {
	if s.fixed != nil {
		return s.fixed, nil
	}
	if s.dial != nil {
		if err := s.dial.refresh(); err != nil {
			return nil, fmt.Errorf("environment %s: %w", s.env.Name, err)
		}
	}
	inv, err := s.connect.inventory(s.env.Dir)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("environment %s: %w", s.env.Name, err))
	}
	return inv, nil
}

// Command runs a command of the operator's on a host.
func (s *session) Command(ctx context.Context, scope plan.Scope, c driver.Command, log func(line string)) error {
	inv, err := s.refresh()
	if err != nil {
		return err
	}
	h := inv.Host(string(scope))
	if h == nil {
		return driver.Permanent(fmt.Errorf("there is no host %s in the inventory", scope))
	}
	if s.askAgent(h) {
		cmd := &driver.HostCommand{Args: c.Args, Dir: c.Dir, Env: map[string]string{}}
		for name, v := range c.Env {
			cmd.Env[name] = v.Reveal()
		}
		return s.askBare(ctx, h, driver.Ask{Op: driver.AgentCommand, Command: cmd}, logged{log})
	}
	t, err := s.transport(h)
	if err != nil {
		return err
	}
	// Variables may be secret: they go through the input, not the command line.
	sc := newScript()
	for _, name := range sortedKeys(c.Env) {
		if !variable.MatchString(name) {
			return driver.Permanent(fmt.Errorf("%q is no name of a variable", name))
		}
		fmt.Fprintf(sc, "export %s=%s\n", name, quote(c.Env[name].Reveal()))
	}
	if c.Dir != "" {
		fmt.Fprintf(sc, "cd -- %s || exit 1\n", quote(c.Dir))
	}
	fmt.Fprintf(sc, "%s 2>&1\nexit\n", quoteAll(c.Args))
	out := &lines{log: log}
	err = t.run(ctx, shellFromStdin, sc.text(false), out)
	out.flush()
	var exit *exitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", scope, err)
	}
	return err
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// lines cuts output into lines.
type lines struct {
	log func(string)
	buf []byte
}

const maxLine = 4 << 10

// Write takes the next piece.
func (l *lines) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' {
			l.log(string(l.buf))
			l.buf = l.buf[:0]
		} else if len(l.buf) < maxLine {
			l.buf = append(l.buf, c)
		}
	}
	return len(p), nil
}

func (l *lines) flush() {
	if len(l.buf) > 0 {
		l.log(string(l.buf))
	}
}

// Scopes gives the hosts that the target lies in.
func (s *session) Scopes(_ context.Context, in driver.Input) ([]driver.ScopeInfo, error) {
	inv, err := s.refresh()
	if err != nil {
		return nil, err
	}
	in.Scope = scopeOf(in).with(inv)
	var out []driver.ScopeInfo
	for _, h := range inv.Hosts {
		if scopeOf(in).containsHost(h.Name) {
			vars := map[string]any{}
			for k, v := range h.Vars {
				vars[k] = v
			}
			vars["address"], vars["name"] = h.Address, h.Name
			out = append(out, driver.ScopeInfo{Scope: plan.Scope(h.Name), Groups: h.Groups, Vars: vars})
		}
	}
	return out, nil
}
