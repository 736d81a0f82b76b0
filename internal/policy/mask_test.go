package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

// secretPlan has secrets at several depths; the paths are those of masked
// fields.
func secretPlan(secret string) *plan.Plan {
	doc, _ := json.Marshal(map[string]any{"user": "u", "password": secret, "keys": []any{map[string]any{"a/b": secret}, "open"}, "whole": map[string]any{"x": secret}})
	return &plan.Plan{Digest: "d", Changes: []plan.Change{{Action: plan.Update, Before: doc, After: doc,
		Sensitive: []string{"/password", "/keys/0/a~1b", "/whole", "/keys/9/none", "/nothing"}}}}
}

var peeking = []string{
	`plan.changes.exists(c, c.after.password != "***")`,
	`plan.changes.exists(c, c.before.keys[0]["a/b"] != "***")`,
	`plan.changes.exists(c, type(c.after.whole) == map)`,
	`plan.changes.exists(c, size(c.after.password) > 3)`,
	`plan.changes.exists(c, string(c.after.password).contains("a"))`,
	`plan.changes.exists(c, c.after != c.before)`,
}

// Rules decide the same about a plan whatever its secrets are, and whether
// the plan was masked before or not.
func TestRulesSeeNoSecrets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret, other := rapid.String().Draw(t, "secret"), rapid.String().Draw(t, "other")
		masked := secretPlan(secret)
		if err := masked.Mask(func(v []byte) string { return fmt.Sprintf("%x", v) }); err != nil {
			t.Fatal(err)
		}
		for _, expr := range peeking {
			r, err := Compile([]config.Approval{{When: expr, By: []string{"auto"}}})
			if err != nil {
				t.Fatal(err)
			}
			var got []bool
			for _, p := range []*plan.Plan{secretPlan(secret), secretPlan(other), masked} {
				d, err := r.Decide(p, facts(), nil, nil)
				if err != nil {
					t.Fatalf("%s: %v", expr, err)
				}
				got = append(got, d.Auto)
			}
			if slices.Contains(got, true) {
				t.Fatalf("%s sees a secret: %v", expr, got)
			}
		}
	})
}

// Deciding changes nothing in the plan.
func TestDecideLeavesThePlanAlone(t *testing.T) {
	p := secretPlan("canary")
	want, _ := json.Marshal(p)
	if _, err := compile(t, config.Approval{When: peeking[0], By: []string{"auto"}}).Decide(p, facts(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(p); string(got) != string(want) {
		t.Errorf("%s", got)
	}
}
