package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/plan"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		want  string
		names []string
	}{
		{"web[01-03]", []string{"web01", "web02", "web03"}},
		{"web[01-03,07,10]", []string{"web10", "web01", "web07", "web03", "web02"}},
		{"web[8-11]", []string{"web8", "web9", "web10", "web11"}},
		{"db, web[1-2].example.com", []string{"web1.example.com", "db", "web2.example.com"}},
		{"a1-b[2-3]", []string{"a1-b2", "a1-b3"}},
		{"10.0.0.[7-9]", []string{"10.0.0.7", "10.0.0.8", "10.0.0.9"}},
		{"web-[1-2].eu-1, web-1.eu-2", []string{"web-1.eu-1", "web-2.eu-1", "web-1.eu-2"}},
		{"only", []string{"only"}},
		{"h12345678901234", []string{"h12345678901234"}},
	} {
		if got := Names(c.names); got != c.want {
			t.Errorf("%v: %s, not %s", c.names, got, c.want)
		}
	}
}

// TestNamesLoseNone: expanding the ranges gives every name back.
func TestNamesLoseNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{0,2}[0-9]{0,4}(\.[a-z0-9]{1,2})?`), 1, 40, rapid.ID[string]).Draw(t, "names")
		var got []string
		for _, r := range ranges(names) {
			if r.plain {
				got = append(got, r.prefix)
			}
			for _, n := range r.numbers {
				got = append(got, fmt.Sprintf("%s%0*d%s", r.prefix, max(r.width, 1), n, r.suffix))
			}
		}
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Fatalf("%q became %q", names, got)
		}
	})
}

// TestHundredHosts is how a plan for a hundred hosts reads.
func TestHundredHosts(t *testing.T) {
	p := &plan.Plan{Target: "infra/web", Mode: plan.Apply}
	doc := func(m map[string]any) json.RawMessage { b, _ := json.Marshal(m); return b }
	conf := "user nginx;\nworkers 4;\nhttp {\n  listen 80;\n  gzip off;\n  root /srv;\n}\n"
	next := "user nginx;\nworkers 4;\nhttp {\n  listen 80;\n  gzip on;\n  root /srv;\n}\n"
	for i := 1; i <= 100; i++ {
		s := plan.Scope(fmt.Sprintf("web%03d", i))
		sp := plan.ScopePlan{Scope: s, Unchanged: 7}
		if i > 95 {
			sp = plan.ScopePlan{Scope: s, Unknown: fmt.Sprintf("dial %s: connection refused", s)}
		}
		p.Scopes = append(p.Scopes, sp)
		if i > 95 {
			continue
		}
		before := conf
		if i == 7 || i == 8 {
			before = "by hand\n" + conf
		}
		p.Changes = append(p.Changes,
			plan.Change{Key: plan.Key{Scope: s, Address: "/etc/nginx.conf"}, Kind: "file", Action: plan.Update, Reason: plan.BySpec,
				Before: doc(map[string]any{"content": before, "mode": "0644"}), After: doc(map[string]any{"content": next, "mode": "0644"})},
			plan.Change{Key: plan.Key{Scope: s, Address: "/etc/key"}, Kind: "file", Action: plan.Update, Reason: plan.BySpec, Sensitive: []string{"/content"},
				Before: doc(map[string]any{"content": "*** (0a1b2c3d)"}), After: doc(map[string]any{"content": "*** (4e5f6a7b)"})},
			plan.Change{Key: plan.Key{Scope: s, Address: "nginx.service"}, Kind: "unit", Action: plan.Update, Reason: plan.BySpec, Note: "restarted: /etc/nginx.conf changes"})
	}
	got := text(t, View{Plan: p, Environment: "linux", Commit: "0123456789abcdef", Ref: "main"})
	golden(t, "hundred.golden", got)
}

func TestResultsAreGrouped(t *testing.T) {
	var rs []plan.Result
	for i := range 50 {
		rs = append(rs, plan.Result{Key: plan.Key{Scope: plan.Scope(fmt.Sprintf("web%02d", i)), Address: "/etc/motd"}, Action: plan.Create,
			Outcome: plan.Failed, Error: "no space left"})
	}
	var b bytes.Buffer
	if err := Results(&b, Plain, rs); err != nil {
		t.Fatal(err)
	}
	want := "  failed create 50 scopes: web[00-49] /etc/motd: no space left\nApplied: 0, failed: 50\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file below testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
