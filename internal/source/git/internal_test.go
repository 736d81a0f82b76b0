package git

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"trueup.dev/trueup/internal/source"
)

func TestTagPatterns(t *testing.T) {
	tags := []string{"v1.0.0", "v1.2.0", "v1.2.9", "v1.10.0", "1.11.0-rc.1", "v2.0.0-rc.2", "v2.0.0-rc.10", "v2.0.0", "v3.1", "v0.2.5", "v0.3.0", "release-9", "release-10", "app/v4.0.0", "junk"}
	for pattern, want := range map[string]string{
		"^1": "v1.10.0", "^1.2.0": "v1.10.0", "~1.2": "v1.2.9", "~1.2.0": "v1.2.9", "~1": "v1.10.0", "1.x": "v1.10.0", "1.2.*": "v1.2.9", "1": "v1.10.0", "1.2": "v1.2.9", "=1.2.0": "v1.2.0",
		">=1.2 <2": "v1.10.0", ">= 1.2, < 1.10": "v1.2.9", "<2.0.0": "v1.10.0", ">2": "v3.1", ">=2.0.0-rc.1 <2.0.0": "v2.0.0-rc.10", "x": "v3.1", "^0.2": "v0.2.5", "^0.2.1": "v0.2.5",
		"<1 || ^2": "v2.0.0", "release-*": "release-10", "app/*": "app/v4.0.0", "*": "v3.1", "<=1.2": "v1.2.9", "!=3.1.0 >1": "v2.0.0", "^9": "", "ju*": "junk", "v1.2.0": "v1.2.0", "release-9": "release-9",
	} {
		p, err := parseTagPattern(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		if got := p.highest(tags); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
	for _, bad := range []string{"", ">=", "a b", "[", "^x y", "1 || "} {
		if _, err := parseTagPattern(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// signedCommit makes a commit object signed by a new GPG key.
func signedCommit(t *testing.T) (body []byte, public string) {
	t.Helper()
	who, err := openpgp.NewEntity("Ann", "", "ann@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var pub bytes.Buffer
	w, err := armor.Encode(&pub, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(who.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	head := "tree " + strings.Repeat("a", 40) + "\nauthor Ann <ann@example.com> 1700000000 +0000\ncommitter Ann <ann@example.com> 1700000000 +0000\n"
	msg := "\nsubject\n\nbody\n"
	var sig bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&sig, who, strings.NewReader(head+msg), nil); err != nil {
		t.Fatal(err)
	}
	header := "gpgsig " + strings.ReplaceAll(strings.TrimSpace(sig.String()), "\n", "\n ") + "\n"
	return []byte(head + header + msg), pub.String()
}

func TestGPGSignatures(t *testing.T) {
	body, public := signedCommit(t)
	_, other := signedCommit(t)
	verifierFor := func(key string) *verifier {
		v, err := newVerifier(source.Options{Follow: source.Follow{Branch: "main"}, Signatures: &source.SignaturePolicy{GPGKeys: []string{key}}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if by, err := verifierFor(public).check("commit", "x", body); err != nil || !strings.HasPrefix(by, "Ann <ann@example.com> ") {
		t.Errorf("%q %v", by, err)
	}
	if _, err := verifierFor(other).check("commit", "x", body); !errors.Is(err, source.ErrUnsigned) {
		t.Errorf("another key: %v", err)
	}
	for _, forged := range [][]byte{
		bytes.Replace(body, []byte("body"), []byte("evil"), 1),
		bytes.Replace(body, []byte("aaaa"), []byte("bbbb"), 1),
		bytes.Replace(body, []byte("gpgsig "), []byte("gpgsig x\ngpgsig "), 1),
		bytes.Replace(body, []byte("gpgsig "), []byte("x-gpgsig "), 1),
	} {
		if _, err := verifierFor(public).check("commit", "x", forged); !errors.Is(err, source.ErrUnsigned) {
			t.Errorf("forged: %v\n%s", err, forged)
		}
	}
}

func TestSubmoduleRules(t *testing.T) {
	for _, c := range []struct{ owner, raw, want string }{
		{"https://git.example/a/b.git", "../c.git", "https://git.example/a/c.git"},
		{"https://git.example/a/b.git", "../../../../c.git", "https://git.example/c.git"},
		{"git@git.example:a/b.git", "../c.git", "git@git.example:a/c.git"},
		{"git@git.example:a/b.git", "https://git.example/x", "https://git.example/x"},
		{"https://git.example/a/b.git", "git@git.example:x", "git@git.example:x"},
		{"https://git.example/a", "https://evil.example/x", ""},
		{"https://git.example/a", "https://git.example.evil/x", ""},
		{"https://git.example/a", "https://git.example@evil/x", ""},
		{"https://git.example/a", "http://git.example/x", ""},
		{"https://git.example/a", "/etc", ""},
		{"https://git.example/a", "https://allowed.example/org/x", "https://allowed.example/org/x"},
		{"https://git.example/a", "https://allowed.example/organisation/x", ""},
		{"https://git.example/a", "https://allowed.example/org/../other/x", ""},
		{"/srv/git/a", "../b", ""},
	} {
		opt := source.Options{URL: c.owner, Submodules: source.Submodules{Enabled: true, Allow: []string{"https://allowed.example/org/"}}}
		r, err := parseRemote(opt)
		if err != nil {
			t.Fatal(err)
		}
		p := &modulePool{owner: &Mirror{opt: opt, remote: r}}
		if got, err := p.allowed(c.raw); got != c.want {
			t.Errorf("%s in %s: %q %v", c.raw, c.owner, got, err)
		}
	}
}

func TestNoSecretInErrors(t *testing.T) {
	for _, u := range []string{"https://user:hunter2@x/y", "https://hunter2@x/y", "https://x:hunter2 @y/%zz", "ssh://u:hunter2@x/y"} {
		if _, err := parseRemote(source.Options{URL: u}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("x", 20)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if d, err := newDir(b); err == nil {
			for _, n := range d.nodes {
				_ = fmt.Sprint(source.CheckName(n.name))
			}
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + strings.Repeat("a", 40) + "\nauthor A <a> 1 +0\ngpgsig x\n y\n\nmsg"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseCommit("x", b)
		if err == nil && strings.ContainsAny(r.Subject+r.Author, "\x1b\n\r") {
			t.Errorf("%+v", r)
		}
		_, _ = parseObject("tag", b)
	})
}
