package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/config/strict"
)

// Rollout says how a change goes over a target's scopes (hosts): in batches,
// each drained, applied, read back, checked and put back before the next.
type Rollout struct {
	// Batch is how many scopes at once: a number, a share of all that the
	// target has (10%), or a list of them, [1, 10%, 50%], whose last one goes
	// on to the end.
	Batch Batches `yaml:"batch" json:"batch" jsonschema:"required"`
	// Order is inventory (default), name, random (another order for each
	// commit, the same one after a restart), or a list of scopes, groups and
	// globs that go first; the rest follows in the inventory's order.
	Order Order `yaml:"order" json:"order,omitzero"`
	// MaxFailures is how many scopes may fail, in number or share, before the
	// rollout stops; default 0.
	MaxFailures Amount        `yaml:"maxFailures" json:"maxFailures,omitzero"`
	Pause       time.Duration `yaml:"pause" json:"pause,omitempty" jsonschema:"minimum=0s,maximum=24h"` // between batches
	Before      string        `yaml:"before" json:"before,omitempty"`                                   // a name from the operator's commands: takes a scope out of service before it is changed
	After       string        `yaml:"after" json:"after,omitempty"`                                     // a name from the operator's commands: puts a scope back once it is healthy
	// OnFailure is what becomes of a batch in which more failed than may:
	// rollback brings its scopes back to what they had, stop leaves them as they
	// are, continue goes on with the next batch. After rollback and stop the
	// rest stays untouched. Default: rollback where the target's onFailure is
	// rollback, otherwise stop.
	OnFailure string `yaml:"onFailure" json:"onFailure,omitempty" jsonschema:"enum=rollback,enum=stop,enum=continue"`
	// Unreachable is what becomes of the others when a scope can't be reached:
	// retry (default) goes on and tries that one again by itself, hold waits
	// until all can be reached.
	Unreachable string `yaml:"unreachable" json:"unreachable,omitempty" jsonschema:"default=retry,enum=retry,enum=hold"`
}

// RolloutLimits is the operator's bound on rollouts, whatever a repository
// says. It also holds for targets of several scopes without a rollout.
type RolloutLimits struct {
	MaxBatch    Amount  `yaml:"maxBatch"`    // at most so many scopes at once, in number or share
	MaxFailures *Amount `yaml:"maxFailures"` // at most so many scopes may fail before a rollout stops
}

// Amount is a number of scopes or a share of all of them.
type Amount struct {
	Count int     `json:"count,omitempty"`
	Share float64 `json:"share,omitempty"` // 0 to 1
}

const amountForm = "expected a number (5) or a share (10%%), found %q"

// UnmarshalYAML reads `5` or `10%`.
func (a *Amount) UnmarshalYAML(fill func(any) error) error {
	var n int
	if fill(&n) == nil {
		if n < 0 {
			return fmt.Errorf("the number can't be negative, found %d", n)
		}
		*a = Amount{Count: n}
		return nil
	}
	var s string
	if err := fill(&s); err != nil {
		return err
	}
	share, ok := parseShare(s)
	if !ok {
		return fmt.Errorf(amountForm, s)
	}
	*a = Amount{Share: share}
	return nil
}

// Of gives the number that the amount is of a total, rounded down.
func (a Amount) Of(total int) int {
	if a.Share > 0 {
		return int(a.Share*float64(total) + 1e-9)
	}
	return a.Count
}

// IsZero tells that nothing is given.
func (a Amount) IsZero() bool { return a == Amount{} }

// Batches are the sizes of a rollout's batches; the last one repeats.
type Batches []Amount

const maxSteps = 100

// UnmarshalYAML reads `5`, `10%` or `[1, 10%, 50%]`.
func (b *Batches) UnmarshalYAML(fill func(any) error) error {
	var one Amount
	var list []Amount
	if err := fill(&one); err == nil {
		list = []Amount{one}
	} else {
		var raw any
		if bad := fill(&raw); bad != nil {
			return bad
		}
		if _, isList := raw.([]any); !isList {
			return err
		}
		if err := fill(&list); err != nil {
			return err
		}
	}
	for _, a := range list {
		if a.IsZero() {
			return fmt.Errorf("a batch has at least one scope")
		}
	}
	if len(list) == 0 || len(list) > maxSteps {
		return fmt.Errorf("give 1 to %d sizes, found %d", maxSteps, len(list))
	}
	*b = list
	return nil
}

// Size gives how many scopes the n-th batch may have, counted from 0.
func (b Batches) Size(n, total int) int {
	if len(b) == 0 {
		return max(total, 1)
	}
	return max(b[min(n, len(b)-1)].Of(total), 1)
}

// Order is the order in which a rollout takes scopes.
type Order struct {
	By    string   `json:"by,omitempty"`    // inventory, name or random
	First []string `json:"first,omitempty"` // scopes, groups and globs
}

var orders = []string{"inventory", "name", "random"}

// UnmarshalYAML reads a word or a list.
func (o *Order) UnmarshalYAML(fill func(any) error) error {
	var s string
	if fill(&s) == nil {
		if !slices.Contains(orders, s) {
			return fmt.Errorf("expected inventory, name, random or a list of scopes and groups, found %q", s)
		}
		o.By = s
		return nil
	}
	if err := fill(&o.First); err != nil {
		return err
	}
	if len(o.First) == 0 || len(o.First) > 1000 {
		return fmt.Errorf("name 1 to 1000 scopes or groups, found %d", len(o.First))
	}
	for _, g := range o.First {
		if g == "" || !doublestar.ValidatePattern(g) {
			return fmt.Errorf("%q is no scope, group or glob", g)
		}
	}
	return nil
}

// rollout checks what the operator has to say to a rollout.
func (e *entry) rollout() {
	r := e.t.Rollout
	if r == nil || e.Alone {
		return
	}
	for _, hook := range []struct{ field, name string }{{"before", r.Before}, {"after", r.After}} {
		if hook.name != "" && e.Server.Commands[hook.name] == nil {
			e.fail("rollout."+hook.field, strict.Mend(hook.name, sorted(e.Server.Commands)), "the operator declares no command %q", hook.name)
		}
	}
}

// Failure is what becomes of a batch that failed: rollback, stop or continue.
func (r *Resolved) Failure() string {
	switch {
	case r.Rollout != nil && r.Rollout.OnFailure != "":
		return r.Rollout.OnFailure
	case r.OnFailure == "rollback":
		return "rollback"
	}
	return "stop"
}

// Selects tells whether a word chooses a scope: its name, one of its groups,
// or a glob that fits the name.
func Selects(word, scope string, groups []string) bool {
	if word == scope || slices.Contains(groups, word) {
		return true
	}
	if !strings.ContainsAny(word, "*?[{") {
		return false
	}
	ok, err := doublestar.Match(word, scope)
	return err == nil && ok
}
