package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/store"
)

// memory is a record without a database.
type memory struct {
	store.Audit
	signer *audit.Signer
	events []store.Event
}

func newMemory(t testing.TB) *memory {
	t.Helper()
	s, err := audit.NewSigner(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &memory{signer: s}
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (m *memory) add(t testing.TB, events ...store.Event) {
	t.Helper()
	for _, e := range events {
		prev := audit.Genesis
		if n := len(m.events); n > 0 {
			prev = m.events[n-1].Hash
		}
		e.Seq, e.At = int64(len(m.events)+1), start.Add(time.Duration(len(m.events))*time.Hour)
		if err := m.signer.Seal(prev, &e); err != nil {
			t.Fatal(err)
		}
		m.events = append(m.events, e)
	}
}

func (m *memory) AddEvent(context.Context, ...store.Event) error { return nil }

func (m *memory) Events(_ context.Context, after int64, limit int) ([]store.Event, error) {
	return m.events[min(after, int64(len(m.events))):min(after+int64(limit), int64(len(m.events)))], nil
}

func (m *memory) AuditKey(context.Context) (string, error) { return m.signer.Public().String(), nil }

func (m *memory) AuditAnchor(context.Context) (store.AuditAnchor, error) {
	return store.AuditAnchor{}, nil
}

func (m *memory) SignAudit(_ context.Context, text string) (string, error) {
	return m.signer.Sign(text), nil
}

func (m *memory) Target(_ context.Context, id string) (store.Target, error) {
	return store.Target{ID: id, Environment: "env-" + id}, nil
}

func (m *memory) Now(context.Context) (time.Time, error) { return start, nil }

func data(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func filled(t testing.TB) *memory {
	m := newMemory(t)
	run := audit.RunData{Record: "x", Run: store.Run{ID: "r1", Environment: "dns", Commit: "c0ffee", State: store.RunSucceeded, Approval: "approved by user:bob",
		Origin: &store.Origin{Number: 7, Title: "=HYPERLINK(\"http://evil\")", URL: "https://git/7", Proposed: store.Party{Login: "ann-gh", Actor: "user:ann"}, Merged: store.Party{Login: "carl"}}}}
	m.add(t, store.Event{Kind: "config.loaded", Actor: "system:start", Data: data(t, map[string]any{"version": 3})},
		store.Event{Kind: "run.started", Target: "a", Run: "r1"},
		store.Event{Kind: audit.RunFinished, Target: "a", Run: "r1", Actor: "webhook:infra", Data: data(t, run)},
		store.Event{Kind: audit.Approval, Target: "b", Actor: "user:bob", Data: data(t, audit.ApprovalData{Environment: "web", Approval: store.Approval{Approved: true, Actor: "user:bob", PlanHash: "0123456789abcdef", Reason: "+1"}})},
		store.Event{Kind: "freeze", Actor: "user:ann", Data: data(t, map[string]any{"reason": "@release"})})
	return m
}

func export(t testing.TB, m *memory, f audit.Filter) string {
	t.Helper()
	var b bytes.Buffer
	if err := audit.Export(t.Context(), &b, m, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t testing.TB, text string, key audit.Key) (string, []audit.Record) {
	t.Helper()
	var records []audit.Record
	x, err := audit.Read(strings.NewReader(text), key, func(r audit.Record) error {
		records = append(records, r)
		return nil
	})
	switch {
	case err != nil:
		return "error: " + err.Error(), records
	case x.Broken != nil:
		return x.Broken.What + ": " + x.Broken.Why, records
	}
	return fmt.Sprint("sound ", x.Records), records
}

func TestFilters(t *testing.T) {
	m := filled(t)
	for name, c := range map[string]struct {
		f    audit.Filter
		want string
	}{
		"all":             {audit.Filter{}, "1 2 3 4 5"},
		"since":           {audit.Filter{Since: start.Add(3 * time.Hour)}, "4 5"},
		"until":           {audit.Filter{Until: start.Add(2 * time.Hour)}, "1 2"},
		"target":          {audit.Filter{Target: "a"}, "2 3"},
		"environment":     {audit.Filter{Environment: "dns"}, "3"},
		"of the target":   {audit.Filter{Environment: "env-a"}, "2"},
		"actor":           {audit.Filter{Actor: "user:bob"}, "4"},
		"proposer":        {audit.Filter{Actor: "user:ann"}, "3 5"},
		"login of merger": {audit.Filter{Actor: "carl"}, "3"},
		"narrowed":        {audit.Filter{Sees: func(env string) bool { return env == "web" }}, "4"},
		"nothing":         {audit.Filter{Target: "none"}, ""},
	} {
		text := export(t, m, c.f)
		verdict, records := read(t, text, m.signer.Public())
		var got []string
		for _, r := range records {
			got = append(got, fmt.Sprint(r.Seq))
		}
		if strings.Join(got, " ") != c.want || verdict != fmt.Sprint("sound ", len(records)) {
			t.Errorf("%s: %v, %s", name, got, verdict)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%s: not JSON", name)
		}
	}
}

func TestTamperedExports(t *testing.T) {
	m := filled(t)
	whole := export(t, m, audit.Filter{})
	lines := strings.SplitAfter(whole, "\n")
	other, err := audit.NewSigner(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	// Another layout of the same JSON is the same export.
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(whole), "", "   "); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"as it is":      {whole, "sound 5"},
		"pretty":        {pretty.String(), "sound 5"},
		"text":          {strings.Replace(whole, "c0ffee", "c0ffe0", 1), "record 3: its hash"},
		"a line less":   {strings.Join(append(append([]string{}, lines[:3]...), lines[4:]...), ""), "record 4: records before it"},
		"the last less": {strings.Replace(strings.Join(append(append([]string{}, lines[:5]...), lines[6:]...), ""), "},\n\n]", "}\n]", 1), "error"},
		"swapped":       {strings.Join([]string{lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], lines[6]}, ""), "record 1: it is out of order"},
		"cut short":     {whole[:len(whole)/2], "error"},
		"no end":        {whole[:strings.Index(whole, `,"end"`)] + "}", "error"},
		"a selection":   {strings.Replace(whole, `"gapless":true`, `"gapless":false`, 1), "the export as a whole"},
		"another time":  {strings.Replace(whole, `"at":"2026-03-01T12:00:00Z","gapless"`, `"at":"2027-03-01T12:00:00Z","gapless"`, 1), "the export as a whole"},
		"something":     {"{}", "error"},
		"nothing":       {"", "error"},
	} {
		if got, _ := read(t, c.text, m.signer.Public()); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got, _ := read(t, whole, other.Public()); !strings.HasPrefix(got, "record 1: it is not signed") {
		t.Errorf("another key: %s", got)
	}
}

// A spreadsheet runs no cell of the export.
func TestCSVRunsNothing(t *testing.T) {
	m := filled(t)
	hostile := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", " =1", "\u00a0=1", "=cmd|' /C calc'!A1", "＝1", "|x", "%x"}
	for _, h := range hostile {
		m.add(t, store.Event{Kind: "freeze", Actor: store.Actor(h), Target: h, Data: data(t, map[string]any{"reason": h, "commit": h, "environment": h, "url": h})})
	}
	_, records := read(t, export(t, m, audit.Filter{}), m.signer.Public())
	var b bytes.Buffer
	if err := audit.CSV(&b, audit.Rows(records)); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != 1+4+len(hostile) {
		t.Fatal(len(lines), err)
	}
	for _, line := range lines {
		for _, cell := range line {
			if strings.ContainsAny(cell, "\r\n\t") || strings.ContainsRune("=+-@|%＝", []rune(strings.TrimLeft(cell, " \u00a0") + "x")[0]) {
				t.Errorf("a spreadsheet may run %q", cell)
			}
		}
	}
	if got := strings.Join(lines[2][:13], ";"); !strings.Contains(got, "a;dns;r1;succeeded;c0ffee") || lines[2][15] != `pull request #7 =HYPERLINK("http://evil")` || lines[2][11] != "ann-gh (user:ann)" {
		t.Errorf("%q", lines[2])
	}
}

func FuzzRead(f *testing.F) {
	m := newMemory(f)
	m.add(f, store.Event{Kind: "x"}, store.Event{Kind: "y", Data: json.RawMessage(`{"a":1}`)})
	var b bytes.Buffer
	if err := audit.Export(context.Background(), &b, m, audit.Filter{}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add(`{"trueup":"audit","format":1,"records":[],"end":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var kinds []string
		x, err := audit.Read(strings.NewReader(text), m.signer.Public(), func(r audit.Record) error {
			kinds = append(kinds, r.Kind)
			return nil
		})
		if err == nil && x.Broken == nil && strings.Join(kinds, "") != "xy" {
			t.Fatalf("%v pass for what this key signed", kinds)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	m := newMemory(b)
	run := data(b, audit.RunData{Record: "x", Run: store.Run{ID: "r1", Target: "infra/zone", Environment: "dns", Commit: strings.Repeat("c", 40), Origin: &store.Origin{Number: 7, Title: "a title"}}})
	for range b.N {
		m.add(b, store.Event{Kind: audit.RunFinished, Actor: "user:ann", Target: "infra/zone", Run: "r1", Data: run})
	}
	b.ResetTimer()
	c := audit.NewChecker(m.signer.Public(), store.AuditAnchor{})
	for _, e := range m.events {
		c.Add(e)
	}
	if r := c.End(int64(b.N)); r.Broken != nil {
		b.Fatal(r.Broken)
	}
}
