package follow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestNewest(t *testing.T) {
	releases := []string{"1", "1.2", "latest", "1.2.0", "v1.2.10", "1.2.9", "2.0.0", "2.1.0-rc.1", "1.3.0-alpine", "1.2.11_build.5", "v1.2.10", "01.2.12", "1.2.8-debug", "sha256-abc.sig"}
	builds := []string{"main-9-a1", "main-10-b2", "main-0011-c3", "main-x-d4", "xmain-99-e5", "main-99-e5-debug", "pr-1000-f6"}
	for _, c := range []struct {
		rule Rule
		tags []string
		want string
		fit  int
	}{
		{Rule{Semver: ">=1.2 <2"}, releases, "1.2.11_build.5", 5},
		{Rule{Semver: ">=1.2 <2", Exclude: []string{"1.2.11*"}}, releases, "v1.2.10", 4},
		{Rule{Semver: "*"}, releases, "2.0.0", 6},
		{Rule{Semver: ">=1.0", Prerelease: true}, releases, "2.1.0-rc.1", 9},
		{Rule{Semver: "~1.2.9"}, releases, "1.2.11_build.5", 4},
		{Rule{Semver: "3.x"}, releases, "", 0},
		{Rule{Semver: ">=1.2", Regexp: `(.*)-alpine`}, releases, "1.3.0-alpine", 1},
		{Rule{Regexp: `main-(\d+)-[0-9a-f]{2}`, Order: Numeric}, builds, "main-0011-c3", 3},
		{Rule{Regexp: `main-(\d+)-[0-9a-f]{2}`, Order: Alphabetical}, builds, "main-9-a1", 3},
		{Rule{Regexp: `\d{8}T\d{4}`, Order: Alphabetical}, []string{"20260101T0000", "20260228T2359", "20251231T2359"}, "20260228T2359", 3},
		{Rule{Tag: "latest"}, releases, "latest", 1},
		{Rule{Tag: "stable"}, releases, "", 0},
		{Rule{Semver: "1.x"}, []string{"v1.2.3", "1.2.3"}, "1.2.3", 2},
		{Rule{Semver: "1.x"}, nil, "", 0},
	} {
		p, err := New(c.rule)
		if err != nil {
			t.Errorf("%+v: %v", c.rule, err)
			continue
		}
		for range 5 {
			tags := slices.Clone(c.tags)
			rand.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
			if got, fit := p.Newest(tags); got != c.want || fit != c.fit {
				t.Errorf("%+v: %q of %d, want %q of %d", c.rule, got, fit, c.want, c.fit)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	alpine := Rule{Semver: "*", Regexp: `(.*)-alpine`}
	numbers := Rule{Regexp: `b(\d+)`, Order: Numeric}
	for _, c := range []struct {
		rule       Rule
		tag, inUse string
		want       Relation
	}{
		{Rule{Semver: "1.x"}, "1.2.4", "1.2.3", Newer}, {Rule{Semver: "1.x"}, "1.2.4", "2.0.0", Older}, {Rule{Semver: "1.x"}, "1.2.4", "v1.2.4", Same},
		{Rule{Semver: "1.x"}, "1.2.4", "1.2", Newer}, {Rule{Semver: "1.x"}, "1.2.4", "1.3", Older}, {Rule{Semver: "1.x"}, "1.2.4", "latest", Unknown},
		{Rule{Semver: "1.x"}, "1.2.4", "1.2.4_other", Same}, {Rule{Semver: "1.x"}, "1.2.4", "1.2.4-rc.1", Newer}, {Rule{Semver: "1.x"}, "1.2.4", "", Unknown},
		{alpine, "1.2.4-alpine", "1.2.3-alpine", Newer}, {alpine, "1.2.4-alpine", "1.3.0", Older}, {alpine, "1.2.4-alpine", "edge", Unknown},
		{numbers, "b10", "b9", Newer}, {numbers, "b10", "b11", Older}, {numbers, "b10", "b0010", Same}, {numbers, "b10", "c11", Unknown},
		{Rule{Tag: "stable"}, "stable", "stable", Same}, {Rule{Tag: "stable"}, "stable", "1.2.3", Unknown},
	} {
		p, err := New(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Compare(c.tag, c.inUse); got != c.want {
			t.Errorf("%+v: %s beside %s is %d, want %d", c.rule, c.tag, c.inUse, got, c.want)
		}
	}
}

func TestRulesAreChecked(t *testing.T) {
	for _, r := range []Rule{
		{}, {Semver: "new"}, {Semver: "1.x", Order: Numeric}, {Regexp: "("}, {Regexp: "a"}, {Regexp: "a", Order: "size"}, {Regexp: "a", Order: Numeric},
		{Regexp: "(a)(b)", Order: Alphabetical}, {Tag: "a b"}, {Tag: "x", Semver: "1.x"}, {Prerelease: true, Regexp: "a", Order: Alphabetical},
		{Semver: "1.x", Exclude: []string{"["}}, {Semver: "1.x", Exclude: []string{""}}, {Semver: strings.Repeat("1", 300)}, {Regexp: strings.Repeat("a", 600), Order: Alphabetical},
	} {
		if _, err := New(r); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

var digest = "sha256:" + strings.Repeat("ab", 32)

func TestReferences(t *testing.T) {
	other := "sha256:" + strings.Repeat("cd", 32)
	for _, c := range []struct {
		form       Form
		text       string
		want       Reference
		then, fail string
	}{
		{AsTag, "1.2.3", Reference{Tag: "1.2.3"}, "1.2.4", ""},
		{AsDigest, other, Reference{Digest: other}, digest, ""},
		{AsDigest, "none", Reference{Digest: "none"}, digest, ""},
		{AsTagDigest, "1.2.3@" + other, Reference{Tag: "1.2.3", Digest: other}, "1.2.4@" + digest, ""},
		{AsTagDigest, "1.2.3", Reference{Tag: "1.2.3"}, "1.2.4@" + digest, ""},
		{AsImageTag, "reg.example.com:5000/acme/shop:1.2.3", Reference{Image: "reg.example.com:5000/acme/shop", Tag: "1.2.3"}, "reg.example.com:5000/acme/shop:1.2.4", ""},
		{AsImageTag, "reg.example.com:5000/acme/shop", Reference{Image: "reg.example.com:5000/acme/shop"}, "reg.example.com:5000/acme/shop:1.2.4", ""},
		{AsImageTag, "nginx:1.2.3@" + other, Reference{}, "", "has a digest"},
		{AsImageDigest, "nginx@" + other, Reference{Image: "nginx", Digest: other}, "nginx@" + digest, ""},
		{AsImageTagDigest, "nginx:1.2.3@" + other, Reference{Image: "nginx", Tag: "1.2.3", Digest: other}, "nginx:1.2.4@" + digest, ""},
		{AsImageTagDigest, "nginx:1.2.3@sha256:12", Reference{}, "", "no digest"},
	} {
		got, err := c.form.Read(c.text)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s %s: %+v, %v", c.form, c.text, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s %s: %+v, %v", c.form, c.text, got, err)
			continue
		}
		got.Tag, got.Digest = "1.2.4", digest
		if then, err := c.form.Write(got); err != nil || then != c.then {
			t.Errorf("%s: %s, %v", c.form, then, err)
		}
	}
	for _, r := range []Reference{{Tag: "1 2", Digest: digest}, {Tag: "a\nb", Digest: digest}, {Tag: "1.2.3", Digest: "sha256:x"}, {Tag: "1.2.3"}} {
		if s, err := AsTagDigest.Write(r); err == nil {
			t.Errorf("%+v is written as %s", r, s)
		}
	}
	if _, err := Form("x").Write(Reference{Tag: "1", Digest: digest}); err == nil || Form("x").Valid() || !AsTag.Valid() {
		t.Error("a form that is none")
	}
}

func TestSameImage(t *testing.T) {
	for a, b := range map[string]string{"nginx": "docker.io/library/nginx", "acme/shop": "index.docker.io/acme/shop", "reg.example.com/a": "oci://reg.example.com/a", "localhost/a": "localhost/a"} {
		if !SameImage(a, b) {
			t.Errorf("%s and %s", a, b)
		}
	}
	for a, b := range map[string]string{"nginx": "reg.example.com/library/nginx", "acme/shop": "shop", "localhost/a": "a"} {
		if SameImage(a, b) {
			t.Errorf("%s is not %s", a, b)
		}
	}
}

func BenchmarkNewest(b *testing.B) {
	var tags []string
	for i := range 10_000 {
		tags = append(tags, fmt.Sprintf("1.%d.%d", i/100, i%100), fmt.Sprintf("main-%d", i))
	}
	p, err := New(Rule{Semver: ">=1.2 <2"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got, _ := p.Newest(tags); got != "1.99.99" {
			b.Fatal(got)
		}
	}
}

// TestWhatIsNoTagIsLeftAlone: a field that holds more than a tag must not lose
// it, nor be taken for an unknown version that anything may replace.
func TestWhatIsNoTagIsLeftAlone(t *testing.T) {
	for form, texts := range map[Form][]string{
		AsTag:       {"1.5.0@sha256:" + strings.Repeat("a", 64), "registry.example.com/acme/shop:1.5.0", "acme/shop", "a tag", "{{ .tag }}"},
		AsTagDigest: {"registry.example.com/acme/shop:1.5.0@sha256:" + strings.Repeat("a", 64), "acme/shop:1.5.0"},
	} {
		for _, text := range texts {
			if r, err := form.Read(text); err == nil {
				t.Errorf("%s reads %q as %+v", form, text, r)
			}
		}
	}
	for _, text := range []string{"", "latest", "v1.2.3", "1.2.3+build"} {
		if r, err := AsTag.Read(text); err != nil || r.Tag != text {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}
