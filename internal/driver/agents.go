package driver

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// Agents reaches hosts that only call out: an agent there fetches requests and
// does on the host itself what a session would do from afar.
type Agents interface {
	// Ask has the agent of a host do something, and waits for its answer. The
	// journal of an apply goes to report, as with a session's Apply. No agent,
	// or one that does not answer, is ErrUnreachable.
	Ask(ctx context.Context, host string, ask Ask, report Report) (*Answer, error)
}

// AgentOp is what an agent is asked for.
type AgentOp string

// The operations; they are a session's methods.
const (
	AgentPlan        AgentOp = "plan"
	AgentApply       AgentOp = "apply"
	AgentFingerprint AgentOp = "fingerprint"
	AgentHealth      AgentOp = "health"
	AgentCommand     AgentOp = "command"
)

// Ask is one request to an agent.
type Ask struct {
	Op     AgentOp        `json:"op"`
	Bundle Bundle         `json:"bundle"`
	Plan   *plan.Plan     `json:"plan,omitempty"`  // to apply: the host's part
	Check  map[string]any `json:"check,omitempty"` // of health
	// Command is an operator's command to run, with the values of its variables.
	Command *HostCommand `json:"command,omitempty"`
}

// HostCommand is a Command that travels. It may hold secrets.
type HostCommand struct {
	Args []string          `json:"args"`
	Env  map[string]string `json:"env,omitempty"`
	Dir  string            `json:"dir,omitempty"`
}

// Answer is what came of it.
type Answer struct {
	Plan        *plan.Plan            `json:"plan,omitempty"`
	Fingerprint map[plan.Scope]string `json:"fingerprint,omitempty"`
}

// Bundle is an Input that can travel: all that one host needs, and nothing of
// any other. It holds the host's secrets; it is never logged or stored in the
// clear.
type Bundle struct {
	Driver      string                        `json:"driver"`
	Version     string                        `json:"version"` // of the driver
	Environment string                        `json:"environment"`
	Target      string                        `json:"target"`
	Scope       plan.Scope                    `json:"scope"` // the host's name
	Mode        plan.Mode                     `json:"mode"`
	Now         time.Time                     `json:"now"`
	Inventory   []Owned                       `json:"inventory,omitempty"` // the host's part
	Previously  map[plan.Address]plan.Address `json:"previously,omitempty"`
	// Desired is the driver's own form of what is desired on the host.
	Desired json.RawMessage `json:"desired"`
	// Content lists what Desired refers to by SHA-256.
	Content []Content `json:"content,omitempty"`
	// HashKey stands for Environment.HashKey on the host: one of its own, so
	// that no host learns a key that hashes other hosts' secrets.
	HashKey []byte `json:"hashKey,omitempty"`
	// Load gives content by its sum.
	Load func(ctx context.Context, sum string) ([]byte, error) `json:"-"`
}

// LogValue keeps a bundle's secrets out of logs.
func (b Bundle) LogValue() slog.Value {
	return slog.StringValue(b.Driver + " bundle of " + b.Target)
}

// Input gives the parts of an input that every bundle has.
func (b *Bundle) Input(prepared *Prepared) Input {
	in := Input{Target: b.Target, Mode: b.Mode, Now: b.Now, Previously: b.Previously, Inventory: Inventory{}, Prepared: prepared}
	for _, o := range b.Inventory {
		in.Inventory[o.Key] = o
	}
	return in
}

// Content is a file's content by its hex SHA-256.
type Content struct {
	Sum  string `json:"sum"`
	Size int64  `json:"size"`
}

// Carrier is a Driver whose work on one host can be done by an agent there. It
// packs bundles in its sessions and unpacks them on the host.
type Carrier interface {
	// OpenBundle opens a session to the very host, and makes the input to plan
	// and apply with. The environment has a name, a hash key and a log; what is
	// needed of Connect travels in the bundle.
	OpenBundle(ctx context.Context, env Environment, b *Bundle) (Session, Input, error)
}

// HostLister is a Driver whose environments are made of hosts.
type HostLister interface {
	Hosts(ctx context.Context, env Environment) ([]Host, error)
}

// Host is one host of an environment.
type Host struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
	Agent  bool     `json:"agent,omitempty"` // it calls in; nobody connects to it
}
