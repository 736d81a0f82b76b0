package render

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

func doc(v any) json.RawMessage {
	b, _ := json.Marshal(v) // plain data
	return b
}

func zonePlan() *plan.Plan {
	at := func(line int) plan.Source { return plan.Source{File: "dns/example.com.zone", Line: line} }
	return &plan.Plan{Target: "infra/zone", Scopes: []plan.ScopePlan{{Unchanged: 40, Unmanaged: 2}}, Changes: []plan.Change{
		{Key: plan.Key{Address: "www.example.com./A"}, Action: plan.Create, Source: at(12), After: doc(map[string]any{"ttl": 300, "values": []string{"192.0.2.10"}})},
		{Key: plan.Key{Address: "mail.example.com./A"}, Action: plan.Update, Source: at(14), Before: doc(map[string]any{"ttl": 300, "values": []string{"192.0.2.20"}}),
			After: doc(map[string]any{"ttl": 60, "values": []string{"192.0.2.21"}})},
		{Key: plan.Key{Address: "old.example.com./TXT"}, Action: plan.Delete, Reason: plan.ByPrune, Before: doc(map[string]any{"ttl": 300, "values": []string{"x"}})},
		{Key: plan.Key{Address: "there.example.com./A"}, Action: plan.Adopt},
		{Key: plan.Key{Address: "secret"}, Action: plan.Update, Before: doc("*** (1a2b)"), After: doc("*** (3c4d)"), Reason: plan.ByDrift},
	}, Warnings: []plan.Diagnostic{{Severity: plan.Warning, Message: "the TTL is low"}}}
}

func comment() PullComment {
	return PullComment{Marker: "<!-- trueup:plan:infra -->", Noun: "pull request", Head: "1111111111111111111111111111111111111111",
		Base: "2222222222222222222222222222222222222222", BaseName: "main", Limit: 65536, Collapse: true,
		Commands: []string{"`trueup plan`", "`trueup help`"},
		Targets: []PullTarget{
			{ID: "infra/zone", Environment: "dns-public", State: "needs approval", Change: "1 to create, 2 to update, 1 to delete, 1 to adopt",
				Note: Code("needs 1 approval by team:sre") + ": " + Code("trueup approve 0123456789ab"), Hash: "0123456789abcdef", Run: "r1", URL: "https://trueup.example.com/api/v1/runs/r1/plan", Plan: zonePlan()},
			{ID: "infra/web", Environment: "web", State: "failed", Detail: "plan: the environment is unreachable: dial tcp 192.0.2.1:22: i/o timeout", Run: "r2"},
			{ID: "infra/old", Environment: "web", State: "leaves Git", Note: "orphaned: the 3 objects that it owns stay as they are"},
		}}
}

func TestPullComment(t *testing.T) {
	c := comment()
	golden(t, "pull.golden.md", c.Markdown())
	c.Collapse = false
	golden(t, "pull-flat.golden.md", c.Markdown())
	c = comment()
	c.Targets = nil
	c.Findings.Errorf(plan.Source{File: "trueup.yaml", Line: 4, Column: 12}, "targets[0].environment", `did you mean "site"?`, "there is no environment %q", "sight")
	c.Findings.Warnf(plan.Source{File: "dns/x.zone", Line: 2}, "", "", "the serial goes backwards")
	golden(t, "pull-findings.golden.md", c.Markdown())
	c = comment()
	c.Landed, c.Locks = "3333333333333333333333333333333333333333", []string{"infra/zone"}
	c.Outcomes = []PullOutcome{{ID: "infra/zone", Environment: "dns-public", State: "applied", Run: "r3"},
		{ID: "infra/web", Environment: "web", State: "held", Detail: "window: outside the time windows", Run: "r4"}}
	golden(t, "pull-merged.golden.md", c.Markdown())
}

// However much there is to tell, the comment keeps to the forge's limit, its
// blocks are closed, and what is left out is named.
func TestPullCommentKeepsToTheLimit(t *testing.T) {
	c := comment()
	c.Targets = nil
	for i := range 300 {
		p := zonePlan()
		for n := range i {
			p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Address: plan.Address(fmt.Sprintf("h%d.example.com./A", n))}, Action: plan.Create, After: doc("x")})
		}
		c.Targets = append(c.Targets, PullTarget{ID: fmt.Sprintf("infra/target-%d", i), Environment: "e", State: "ready", Change: "many", Run: fmt.Sprintf("r%d", i), Hash: "0123456789abcdef", Plan: p})
	}
	for _, limit := range []int{3000, 32768, 65536, 1_000_000} {
		for _, collapse := range []bool{true, false} {
			c.Limit, c.Collapse = limit, collapse
			text := c.Markdown()
			if len(text) > limit {
				t.Errorf("limit %d: %d bytes", limit, len(text))
			}
			if strings.Count(text, "```")%2 != 0 || strings.Count(text, "<details") != strings.Count(text, "</details>") {
				t.Errorf("limit %d: something is open", limit)
			}
			if !strings.Contains(text, "Commands: ") || !strings.Contains(text, "too long for this comment") {
				t.Errorf("limit %d: the end is missing", limit)
			}
		}
	}
}

// One plan that is too long on its own is shown as far as there is room.
func TestLongPlanIsCut(t *testing.T) {
	c := comment()
	p := zonePlan()
	for n := range 900 {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Address: plan.Address(fmt.Sprintf("h%d.example.com./A", n))}, Action: plan.Create, After: doc(strings.Repeat("x", 80))})
	}
	c.Targets = c.Targets[:1]
	c.Targets[0].Plan = p
	text := c.Markdown()
	if len(text) > c.Limit || len(text) < c.Limit/2 || !strings.Contains(text, "more lines: trueup show r1") {
		t.Errorf("%d bytes", len(text))
	}
}

func FuzzCode(f *testing.F) {
	for _, s := range []string{"plain", "`", "``a`", "a|b", "@admin", "<img>", "\n\n# x", "``` ```", "", "\\", "a\x00b", "|`|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		code := Code(text)
		if code == "" {
			return
		}
		if strings.ContainsAny(code, "\n\r") {
			t.Fatalf("%q has lines", code)
		}
		ticks := len(code) - len(strings.TrimLeft(code, "`"))
		inner := strings.TrimSuffix(strings.TrimPrefix(code, strings.Repeat("`", ticks)), strings.Repeat("`", ticks))
		if ticks == 0 || longestRun(inner) >= ticks || len(inner) == 0 || inner[0] == '`' || inner[len(inner)-1] == '`' {
			t.Fatalf("%q ends its span early: %q", text, code)
		}
		for i, r := range code {
			if r == '|' && (i == 0 || code[i-1] != '\\') {
				t.Fatalf("%q breaks a table: %q", text, code)
			}
		}
		block := fenced("diff", []string{text})
		mark := block[:len(block)-len(strings.TrimLeft(block, "`"))]
		if strings.Count(block, mark) != 2 {
			t.Fatalf("%q ends its block early: %q", text, block)
		}
	})
}
