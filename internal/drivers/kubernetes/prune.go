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
	var going []*plan.Change
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Action != plan.Delete && c.Action != plan.Replace {
			continue
		}
		ref, err := manifest.ParseAddress(c.Address)
		if err != nil {
			return driver.Permanent(err)
		}
		o := s.seen[ref]
		if o == nil || o.live == nil {
			continue
		}
		k := keptOf(s.in.Inventory[c.Key])
		stage.Spare(c, o.marks, stage.Of(o.live), stage.Marks{Keep: k.Keep, Confirm: k.Confirm})
		if c.Action != plan.Forget {
			going = append(going, c)
		}
	}
	for _, c := range going {
		ref, err := manifest.ParseAddress(c.Address)
		if err != nil {
			return driver.Permanent(err)
		}
		if err := s.holdContents(ctx, c, s.seen[ref], p); err != nil {
			return err
		}
	}
	return nil
}
