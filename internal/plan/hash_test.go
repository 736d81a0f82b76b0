package plan_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"trueup.dev/trueup/internal/plan"
)

func sample() *plan.Plan {
	return &plan.Plan{Target: "t", Driver: "dns", Digest: "d1", Mode: plan.Apply,
		Scopes: []plan.ScopePlan{{Scope: "z", Realm: "r1", Base: map[plan.Address]string{"a": "h"}}, {Scope: "y", Unknown: "down"}},
		Changes: []plan.Change{
			{Key: plan.Key{Scope: "z", Address: "a"}, Kind: "rrset", Action: plan.Update, Reason: plan.BySpec,
				Before: json.RawMessage(`{"ttl":60,"data":["1"]}`), After: json.RawMessage(`{"ttl": 300, "data": ["2"]}`),
				Sensitive: []string{"/b", "/a"}, Impact: []plan.Impact{{Class: "record", Update: 1}},
				Source: plan.Source{File: "z.zone", Line: 3}},
			{Key: plan.Key{Scope: "z", Address: "b"}, Action: plan.Delete, Reason: plan.ByPrune, Before: json.RawMessage(`{}`)},
		}}
}

func hash(t *testing.T, p *plan.Plan) string {
	t.Helper()
	h, err := p.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHashIgnores what is not part of the decision.
func TestHashIgnores(t *testing.T) {
	want := hash(t, sample())
	for name, change := range map[string]func(p *plan.Plan){
		"order":            func(p *plan.Plan) { slices.Reverse(p.Changes); slices.Reverse(p.Scopes) },
		"spaces and order": func(p *plan.Plan) { p.Changes[0].After = json.RawMessage("{\"data\":[\"2\"] ,\n\"ttl\":300}") },
		"line numbers":     func(p *plan.Plan) { p.Changes[0].Source.Line = 99 },
		"notes":            func(p *plan.Plan) { p.Changes[0].Note = "x" },
		"base":             func(p *plan.Plan) { p.Scopes[0].Base["a"] = "other" },
		"times":            func(p *plan.Plan) { p.NextDue = time.Unix(1, 0) },
		"artefacts":        func(p *plan.Plan) { p.Artefact = []byte("x") },
		"pointers' order":  func(p *plan.Plan) { slices.Reverse(p.Changes[0].Sensitive) },
		"counts":           func(p *plan.Plan) { p.Scopes[0].Unchanged, p.Scopes[0].Unmanaged = 5, 5 },
		"a round trip": func(p *plan.Plan) {
			raw, _ := json.Marshal(p)
			*p = plan.Plan{}
			_ = json.Unmarshal(raw, p)
		},
	} {
		p := sample()
		change(p)
		if hash(t, p) != want {
			t.Errorf("the hash depends on %s", name)
		}
	}
}

// TestHashBinds everything that an approval is about.
func TestHashBinds(t *testing.T) {
	want := hash(t, sample())
	for name, change := range map[string]func(p *plan.Plan){
		"target":    func(p *plan.Plan) { p.Target = "u" },
		"digest":    func(p *plan.Plan) { p.Digest = "d2" },
		"mode":      func(p *plan.Plan) { p.Mode = plan.AddOnly },
		"realm":     func(p *plan.Plan) { p.Scopes[0].Realm = "r2" },
		"scope":     func(p *plan.Plan) { p.Changes[0].Scope = "y" },
		"address":   func(p *plan.Plan) { p.Changes[0].Address = "c" },
		"kind":      func(p *plan.Plan) { p.Changes[0].Kind = "zone" },
		"action":    func(p *plan.Plan) { p.Changes[0].Action = plan.Replace },
		"reason":    func(p *plan.Plan) { p.Changes[0].Reason = plan.ByDrift },
		"from":      func(p *plan.Plan) { p.Changes[0].From = "o" },
		"before":    func(p *plan.Plan) { p.Changes[0].Before = json.RawMessage(`{"ttl":61,"data":["1"]}`) },
		"after":     func(p *plan.Plan) { p.Changes[0].After = nil },
		"list":      func(p *plan.Plan) { p.Changes[0].After = json.RawMessage(`{"ttl":300,"data":["2","3"]}`) },
		"number":    func(p *plan.Plan) { p.Changes[0].After = json.RawMessage(`{"ttl":300.0,"data":["2"]}`) },
		"sensitive": func(p *plan.Plan) { p.Changes[0].Sensitive = nil },
		"unknown":   func(p *plan.Plan) { p.Changes[0].Unknown = []string{"/data"} },
		"impact":    func(p *plan.Plan) { p.Changes[0].Impact[0].Update = 2 },
		"simulated": func(p *plan.Plan) { p.Changes[0].Simulated = true },
		"conflict":  func(p *plan.Plan) { p.Changes[0].Conflict = "x" },
		"one less":  func(p *plan.Plan) { p.Changes = p.Changes[:1] },
		"twice":     func(p *plan.Plan) { p.Changes = append(p.Changes, p.Changes[1]) },
	} {
		p := sample()
		change(p)
		if hash(t, p) == want {
			t.Errorf("the hash does not depend on %s", name)
		}
	}
}

func TestHashRefusesBrokenDocuments(t *testing.T) {
	for _, doc := range []string{"{", "{} {}", "nonsense", `{"a":1}x`} {
		p := sample()
		p.Changes[0].After = json.RawMessage(doc)
		if _, err := p.Hash(); err == nil {
			t.Errorf("%q is hashed", doc)
		}
	}
}

// FuzzCanonical: a document's canonical form is stable and means the same.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1.50,"<&>"]}`, `null`, `"\u2028"`, `1e400`, `{"a":1,"a":2}`, `[]x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		one, err := plan.Canonical(doc)
		if err != nil || len(doc) == 0 {
			return
		}
		if !json.Valid(doc) {
			t.Fatalf("%q is no JSON, and has the canonical form %q", doc, one)
		}
		two, err := plan.Canonical(one)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("%q becomes %q, then %q (%v)", doc, one, two, err)
		}
		var a, b any
		if json.Unmarshal(doc, &a) == nil && json.Unmarshal(one, &b) == nil {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			if !bytes.Equal(x, y) {
				t.Fatalf("%q means %s, its canonical form means %s", doc, x, y)
			}
		}
	})
}
