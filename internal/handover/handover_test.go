package handover_test

import (
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

func TestFieldsThatNobodyAskedForAreListed(t *testing.T) {
	f := handover.Read(map[string]any{"a": "1", "b": map[string]any{"c": int64(2), "d": true}, "e": []any{map[string]any{"f": "x", "g": "y"}}, "h": map[string]any{}, "i": nil, "j": false})
	f.At("a").Text()
	f.At("b", "c").Number()
	f.At("e").Items()[0].At("f").Text()
	if got := strings.Join(f.Unread(), " "); got != "b.d e[0].g j" {
		t.Errorf("unread: %s", got)
	}
	f.At("a").Yes()
	f.At("b").Text()
	if len(f.Wrong()) != 1 {
		t.Errorf("wrong: %q", f.Wrong())
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://user:pass@git.example.com/a/b": "https://git.example.com/a/b", "https://token@git.example.com/a": "https://git.example.com/a",
		"ssh://git@git.example.com/a": "ssh://git@git.example.com/a", "git@git.example.com:a/b.git": "git@git.example.com:a/b.git"} {
		if got, _ := handover.GitURL(text); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	same := handover.SameRepository("git@git.example.com:acme/fleet.git")
	for _, u := range []string{"https://git.example.com/acme/fleet", "ssh://git@GIT.example.com/acme/fleet.git/", "https://x:y@git.example.com/acme/fleet.git"} {
		if handover.SameRepository(u) != same {
			t.Errorf("%s is another repository than %s", u, same)
		}
	}
	for text, want := range map[string]string{"./a/b/": "a/b", "/a": "a", "": ".", "a/../b": "b"} {
		if got, ok := handover.InTree(text); !ok || got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if _, ok := handover.InTree("../x"); ok {
		t.Error("a path out of the repository was taken")
	}
}

func TestValuesThatLookLikeSecrets(t *testing.T) {
	clean, left := handover.WithoutSecrets(map[string]any{"db": map[string]any{"password": "x", "host": "h"}, "url": "postgres://u:p@h/d", "existingSecret": "name", "tokenTTL": "1h",
		"env": []any{map[string]any{"name": "API_TOKEN", "value": "x"}}, "args": []any{"a"}, "key": "-----BEGIN RSA PRIVATE KEY-----"})
	if !slices.Equal(left, []string{"db.password", "env", "key", "url"}) {
		t.Errorf("left out: %q", left)
	}
	if clean["existingSecret"] != "name" || clean["tokenTTL"] != "1h" || clean["env"] != nil {
		t.Errorf("kept: %v", clean)
	}
}

// TestNothingIsLeftOwnerless: each verdict, and what of it makes it unsafe.
func TestNothingIsLeftOwnerless(t *testing.T) {
	ref := func(n string) manifest.Ref { return manifest.Ref{Kind: "ConfigMap", Namespace: "x", Name: n} }
	for _, c := range []struct {
		target, owned, there bool
		want                 string
		safe                 bool
	}{{true, true, true, handover.Adopted, true}, {true, false, true, handover.Waiting, false}, {false, false, true, handover.Ownerless, false},
		{false, true, true, handover.Ownerless, false}, {true, true, false, handover.Gone, true}} {
		n := handover.New{Objects: map[manifest.Ref]string{}, Owned: map[manifest.Ref]string{}}
		if c.target {
			n.Objects[ref("a")] = "r/t"
		}
		if c.owned {
			n.Owned[ref("a")] = "r/t"
		}
		n.Objects[ref("more")] = "r/t"
		old := []handover.Definition{{Object: "old", Safe: true, Holds: []manifest.Ref{ref("a")}}}
		r := handover.Compare(old, n, func(manifest.Ref) bool { return false }, func(manifest.Ref) handover.Live { return handover.Live{There: c.there} })
		if r.Objects[0].Verdict != c.want || r.Safe != c.safe {
			t.Errorf("%+v: %+v", c, r)
		}
		if r.Objects[1].Verdict != handover.Added {
			t.Errorf("what is new is not told: %+v", r.Objects)
		}
	}
}

func TestWordsForShells(t *testing.T) {
	for text, want := range map[string]string{"a-b.c/d": "a-b.c/d", "": "''", "a b": "'a b'", "a'b": `'a'\''b'`, "$(x)": "'$(x)'", "a;b": "'a;b'"} {
		if got := handover.Quote(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
