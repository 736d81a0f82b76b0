package tofu

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"trueup.dev/trueup/internal/plan"
)

// isDrift tells that a change only undoes what was changed outside: every
// attribute that it writes goes back to what it was when it was last applied.
func (t *translation) isDrift(rc *tfjson.ResourceChange) bool {
	d := t.drift[rc.Address]
	if d == nil || d.Change == nil {
		return false
	}
	was, _ := d.Change.Before.(map[string]any)
	now, _ := rc.Change.Before.(map[string]any)
	want, _ := rc.Change.After.(map[string]any)
	unknown, _ := rc.Change.AfterUnknown.(map[string]any)
	if was == nil || want == nil {
		return false
	}
	for k, v := range want {
		if unknown[k] == true || reflect.DeepEqual(v, now[k]) {
			continue
		}
		if !reflect.DeepEqual(v, was[k]) {
			return false
		}
	}
	return true
}

// driftBeside reports drift that no change undoes.
func (t *translation) driftBeside() {
	changed := map[string]bool{}
	for i := range t.plan.Changes {
		if t.plan.Changes[i].Action.Writes() {
			changed[string(t.plan.Changes[i].Address)] = true
		}
	}
	for _, address := range slices.Sorted(maps.Keys(t.drift)) {
		d := t.drift[address]
		if changed[address] || d.Change == nil || d.Change.Actions.NoOp() {
			continue
		}
		t.plan.Warnings = append(t.plan.Warnings, plan.Diagnostic{Severity: plan.Warning, Source: t.root.sourceOf(address),
			Message: fmt.Sprintf("%s was changed outside (%s); the configuration does not ask for another value", address, attributes(d.Change))})
	}
}

// attributes names what differs, without values: some may be secret.
func attributes(c *tfjson.Change) string {
	was, _ := c.Before.(map[string]any)
	now, _ := c.After.(map[string]any)
	if now == nil {
		return "it is gone"
	}
	var out []string
	for _, k := range sortedKeys(now) {
		if !reflect.DeepEqual(was[k], now[k]) {
			out = append(out, k)
		}
	}
	return strings.Join(out, ", ")
}

// driftAsChanges shows what a refresh-only plan would take into the state.
func (t *translation) driftAsChanges() {
	for _, rc := range t.doc.ResourceChanges {
		t.seen[plan.Address(rc.Address)] = true
	}
	for _, address := range slices.Sorted(maps.Keys(t.drift)) {
		d := t.drift[address]
		if d.Mode != tfjson.ManagedResourceMode || d.Change == nil || d.Change.Actions.NoOp() {
			continue
		}
		c := plan.Change{Key: plan.Key{Address: plan.Address(address)}, Kind: d.Type, Action: plan.Update, Reason: plan.ByDrift,
			Source: t.root.sourceOf(address), Note: "only the state is written: what is there is taken as it is"}
		before, err := document(d.Change.Before)
		after, aerr := document(d.Change.After)
		if err != nil || aerr != nil {
			before, after = nil, json.RawMessage(`{}`)
		}
		if d.Change.Actions.Delete() {
			c.Action, c.Note = plan.Forget, "it is gone; the state forgets it"
		}
		c.Before, c.After = before, after
		c.Sensitive = pointers(pointers(nil, "", d.Change.BeforeSensitive), "", d.Change.AfterSensitive)
		c.Sensitive = t.secretPointers(t.secretPointers(c.Sensitive, "", d.Change.Before), "", d.Change.After)
		slices.Sort(c.Sensitive)
		c.Sensitive = slices.Compact(c.Sensitive)
		t.add(c)
	}
}
