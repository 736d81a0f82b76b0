package kubernetes

import (
	"context"
	"encoding/json"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// keptOf gives what was remembered of an object.
func keptOf(o driver.Owned) kept {
	var k kept
	_ = json.Unmarshal(o.LastApplied, &k) // nothing remembered is nothing to heed
	return k
}

// spare takes removals back that annotations forbid, on the object or on it as
// it was last applied, and holds those that would take others' objects along.
func (s *set) spare(ctx context.Context, p *plan.Plan) error {
	gone := map[*plan.Change]*object{}
	for i := range p.Changes {
		c := &p.Changes[i]
		o, err := s.removed(c)
		if err != nil {
			return err
		}
		if o == nil || o.live == nil {
			continue
		}
		if s.taken(c, o) {
			c.Action, c.Impact, c.Conflict = plan.Forget, nil, ""
			note(c, "what is there by now is no hook of this target: it stays as it is")
			continue
		}
		k := keptOf(s.in.Inventory[o.key()])
		stage.Spare(c, o.marks, stage.Of(o.live), stage.Marks{Keep: k.Keep, Confirm: k.Confirm})
		if c.Action == plan.Rename {
			// The old object goes, and a guard has to count that.
			c.Impact = []plan.Impact{{Class: classOf(o.ref), Replace: 1}}
			if stage.Holds(o.ref.GroupKind()) {
				stage.Hold(c, "another one is made and the old one deleted: what it holds goes with it")
			}
		}
		if c.Action != plan.Forget {
			gone[c] = o
		}
	}
	for i := range p.Changes {
		if o := gone[&p.Changes[i]]; o != nil {
			if err := s.holdContents(ctx, &p.Changes[i], o, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// taken tells that a hook left Git whose name somebody else's object has by now:
// hooks go by themselves, so that the name alone says nothing.
func (s *set) taken(c *plan.Change, o *object) bool {
	return c.Action == plan.Delete && s.in.Inventory[o.key()].Class == stage.HookClass && o.live.GetAnnotations()[hookOf] != s.in.Target
}

// removed gives the object that a change removes, nil for none.
func (s *set) removed(c *plan.Change) (*object, error) {
	address := c.Address
	switch c.Action {
	case plan.Delete, plan.Replace:
	case plan.Rename:
		address = c.From
	default:
		return nil, nil
	}
	ref, err := manifest.ParseAddress(address)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	return s.seen[ref], nil
}
