package render

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/plan"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func text(t *testing.T, v View) string {
	t.Helper()
	var b bytes.Buffer
	if err := Plan(&b, Plain, v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	p := &plan.Plan{Target: "infra/zone", Mode: plan.Apply,
		Scopes: []plan.ScopePlan{{Scope: "example.com.", Unchanged: 12, Unmanaged: 4}, {Scope: "away.", Unknown: "timeout"}},
		Changes: []plan.Change{
			{Key: plan.Key{Scope: "example.com.", Address: "www/A"}, Action: plan.Create, After: raw(`{"data":["192.0.2.1"],"ttl":300}`),
				Source: plan.Source{File: "dns/zone", Line: 7}},
			{Key: plan.Key{Scope: "example.com.", Address: "api/A"}, Action: plan.Update, Reason: plan.ByDrift,
				Before: raw(`{"data":["192.0.2.1","192.0.2.9"],"ttl":300}`), After: raw(`{"data":["192.0.2.2","192.0.2.9"],"ttl":600}`)},
			{Key: plan.Key{Scope: "example.com.", Address: "old/TXT"}, Action: plan.Delete, Reason: plan.ByPrune, Before: raw(`{"ttl":1}`)},
		},
		Warnings: []plan.Diagnostic{{Severity: plan.Warning, Message: "dangling MX"}},
	}
	got := text(t, View{Plan: p, Hash: "abc", Environment: "dns", Commit: "0123456789abcdef", Ref: "main",
		Held: []string{"guard: 5 deletes"}, Next: []string{"trueup approve infra/zone abc"}})
	want := `infra/zone → dns  commit 0123456789ab (main)
  ? away. could not be read: timeout
  example.com.
  + www/A  # dns/zone:7
      + data: ["192.0.2.1"]
      + ttl: 300
  ~ api/A  # drift
      ~ data:
      -   "192.0.2.1"
      +   "192.0.2.2"
      ~ ttl: 300 → 600
  - old/TXT  # no longer in Git
      - ttl: 1
  warning: dangling MX
Plan: 1 to create, 1 to update, 1 to delete; 12 unchanged, 4 unmanaged, 1 scope not readable
Held: guard: 5 deletes
  plan abc
  trueup approve infra/zone abc
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSameChangeOnManyScopesIsGrouped(t *testing.T) {
	p := &plan.Plan{Target: "t"}
	for _, s := range []plan.Scope{"h1", "h2", "h3"} {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Scope: s, Address: "/etc/motd"}, Action: plan.Create, After: raw(`{"mode":"0644"}`)})
	}
	p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Scope: "h3", Address: "/etc/x"}, Action: plan.Delete})
	got := text(t, View{Plan: p})
	if strings.Count(got, "/etc/motd") != 1 || !strings.Contains(got, "3 scopes: h[1-3]") || !strings.Contains(got, "3 to create") {
		t.Error(got)
	}
}

func TestTextDiff(t *testing.T) {
	b, _ := json.Marshal(map[string]string{"content": "a\nb\nc\nd\ne\nf\ng\n"})
	a, _ := json.Marshal(map[string]string{"content": "a\nb\nc\nD\ne\nf\ng\n"})
	var lines []string
	for _, l := range Diff(b, a, nil) {
		lines = append(lines, string(l.Sign)+l.Text)
	}
	want := "~content: ||" + " … 1 equal line| b| c|-d|+D| e| f| … 1 equal line"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWhatTheAddressSaysIsLeftOut(t *testing.T) {
	lines := Diff(nil, raw(`{"name":"www.","type":"A","ttl":300,"note":"B"}`), nil, "www.", "A")
	if len(lines) != 2 || lines[0].Text != `note: "B"` || lines[1].Text != "ttl: 300" {
		t.Errorf("%+v", lines)
	}
	// In an update a field that changed is always shown.
	if lines = Diff(raw(`{"type":"A"}`), raw(`{"type":"B"}`), nil, "A", "B"); len(lines) != 1 {
		t.Errorf("%+v", lines)
	}
}

func TestMaskedAndUnknown(t *testing.T) {
	var lines []string
	for _, l := range Diff(raw(`{"key":"***0123456789abcdef","ip":"1"}`), raw(`{"key":"***fedcba9876543210","ip":null}`), []string{"/ip"}) {
		lines = append(lines, string(l.Sign)+l.Text)
	}
	if got := strings.Join(lines, "|"); got != `~ip: "1" → (known after apply)|~key: ***0123456789 → ***fedcba9876` {
		t.Error(got)
	}
}

func TestControlCharactersNeverReachTheTerminal(t *testing.T) {
	evil := "x\x1b[2Jy\u202Ez"
	doc, _ := json.Marshal(map[string]string{evil: evil, "text": "a\n" + evil})
	p := &plan.Plan{Target: evil, Changes: []plan.Change{{Key: plan.Key{Scope: plan.Scope(evil), Address: plan.Address(evil)},
		Action: plan.Create, After: doc, Note: evil, Conflict: evil, Source: plan.Source{File: evil}}},
		Warnings: []plan.Diagnostic{{Message: evil}}, Scopes: []plan.ScopePlan{{Scope: "s", Unknown: evil}}}
	got := text(t, View{Plan: p, Environment: evil, Ref: evil, Held: []string{evil}})
	if strings.ContainsAny(got, "\x1b\u202E") {
		t.Errorf("%q", got)
	}
}

func TestTableAlignsColouredCells(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, Colored, []string{"NAME", "X"}, [][]string{{Colored.Good("ab"), "1"}, {"abcdef", "2"}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if !strings.HasSuffix(lines[1], "     1") || !strings.HasSuffix(lines[2], "  2") || !strings.Contains(lines[1], "\x1b[") {
		t.Errorf("%q", lines)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{5 * time.Second: "5s", 90 * time.Minute: "1h", 72 * time.Hour: "3d"} {
		if got := Age(now, now.Add(-d)); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
}
