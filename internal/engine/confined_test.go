package engine

import (
	"encoding/json"
	"fmt"
	"testing"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

func TestConfined(t *testing.T) {
	declared := []config.WriteBack{{Address: "web", Field: "/spec/replicas"}, {Address: "web", Field: "/spec/paused"}, {Address: "web", Field: "/spec/ports/0/port"},
		{Address: "db", Field: "/spec/replicas"}, {Address: "web", Scope: "other", Field: "/x"}}
	const git = `{"spec":{"replicas":3,"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`
	for _, c := range []struct {
		name, live string
		sensitive  []string
		want       string
	}{
		{"one field", `{"spec":{"replicas":5,"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, "/spec/replicas=5"},
		{"two fields", `{"spec":{"replicas":5,"paused":true,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, "/spec/replicas=5 /spec/paused=true"},
		{"in a list", `{"spec":{"replicas":3,"paused":false,"image":"v1","ports":[{"port":8080},{"port":81}]},"x":"a"}`, nil, "/spec/ports/0/port=8080"},
		{"another field too", `{"spec":{"replicas":5,"paused":false,"image":"v2","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, ""},
		{"another field alone", `{"spec":{"replicas":3,"paused":false,"image":"v2","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, ""},
		{"of another scope", `{"spec":{"replicas":3,"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"b"}`, nil, ""},
		{"the field is gone", `{"spec":{"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, ""},
		{"another type of thing", `{"spec":{"replicas":{"min":1},"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, nil, ""},
		{"a longer list", `{"spec":{"replicas":5,"paused":false,"image":"v1","ports":[{"port":80},{"port":81},{"port":82}]},"x":"a"}`, nil, ""},
		{"a secret", `{"spec":{"replicas":5,"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, []string{"/spec/replicas"}, ""},
		{"inside a secret", `{"spec":{"replicas":5,"paused":false,"image":"v1","ports":[{"port":80},{"port":81}]},"x":"a"}`, []string{"/spec"}, ""},
		{"nothing readable", `***`, nil, ""},
	} {
		ch := plan.Change{Key: plan.Key{Address: "web"}, Action: plan.Update, Reason: plan.ByDrift, Before: json.RawMessage(c.live), After: json.RawMessage(git), Sensitive: c.sensitive}
		got := ""
		for _, v := range confined(&ch, declared) {
			if got != "" {
				got += " "
			}
			got += fmt.Sprintf("%s=%s", v.Field, v.Value.Text)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLeaveOnlyDrift: what Git asks for, and what is held, stays in the plan.
func TestLeaveOnlyDrift(t *testing.T) {
	change := func(mode func(*plan.Change)) plan.Change {
		c := plan.Change{Key: plan.Key{Address: "web"}, Action: plan.Update, Reason: plan.ByDrift, Before: json.RawMessage(`{"n":5}`), After: json.RawMessage(`{"n":3}`)}
		mode(&c)
		return c
	}
	j := &job{}
	j.mode = plan.Apply
	j.res = &config.Resolved{WriteBack: []config.WriteBack{{Address: "web", Field: "/n"}}}
	j.policy = &config.Policy{}
	for name, c := range map[string]struct {
		edit func(*plan.Change)
		left int
	}{
		"drift":       {func(*plan.Change) {}, 0},
		"spec":        {func(c *plan.Change) { c.Reason = plan.BySpec }, 1},
		"replace":     {func(c *plan.Change) { c.Action = plan.Replace }, 1},
		"delete":      {func(c *plan.Change) { c.Action = plan.Delete }, 1},
		"a conflict":  {func(c *plan.Change) { c.Conflict = "owned by somebody" }, 1},
		"other thing": {func(c *plan.Change) { c.Address = "db" }, 1},
	} {
		p := &plan.Plan{Changes: []plan.Change{change(c.edit)}, Scopes: []plan.ScopePlan{{Base: map[plan.Address]string{"web": "h"}}}}
		j.leave(p)
		if len(p.Changes) != c.left || len(p.Scopes[0].Base) != c.left {
			t.Errorf("%s: %d changes and %d bases are left", name, len(p.Changes), len(p.Scopes[0].Base))
		}
	}
	p := &plan.Plan{Changes: []plan.Change{change(func(*plan.Change) {})}}
	j.policy.WriteBack = "off"
	if j.leave(p); len(p.Changes) != 1 {
		t.Error("drift is left alone though the operator turned it off")
	}
	j.policy.WriteBack, j.mode = "", plan.Destroy
	if j.leave(p); len(p.Changes) != 1 {
		t.Error("a destroy leaves something behind")
	}
}
