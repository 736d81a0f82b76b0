package render

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/plan"
)

func packedFiles(t testing.TB, files ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range files {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzChartArchive: whatever an archive holds, unpacking it ends, and no name
// leaves it.
func FuzzChartArchive(f *testing.F) {
	f.Add(packedFiles(f, tar.Header{Name: "shop/Chart.yaml", Size: 5}, tar.Header{Name: "shop/charts/x.tgz", Size: 10}))
	f.Add(packedFiles(f, tar.Header{Name: "../../etc/passwd", Size: 5}))
	f.Add(packedFiles(f, tar.Header{Name: "shop/../../x", Size: 5}, tar.Header{Name: "/abs"}, tar.Header{Name: `a\b`}))
	f.Add(packedFiles(f, tar.Header{Name: "shop/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &chartFiles{origin: map[*byte]string{}}
		if err := c.unpack("", "x.tgz", body, 0); err != nil {
			return
		}
		for _, file := range c.list {
			if !fs.ValidPath(file.Name) || strings.HasPrefix(file.Name, "..") {
				t.Fatalf("%q leaves the chart", file.Name)
			}
		}
	})
}

// TestHostileArchivesAreRefused names what each of them tries.
func TestHostileArchivesAreRefused(t *testing.T) {
	bomb := packedFiles(t, tar.Header{Name: "c/x", Size: maxFile + 5})
	inner := packedFiles(t, tar.Header{Name: "c/Chart.yaml", Size: 1})
	for range maxNested + 2 {
		inner = nest(t, inner)
	}
	var many []tar.Header
	for i := range maxEntries + 10 {
		many = append(many, tar.Header{Name: fmt.Sprintf("c/%d", i)})
	}
	var large []tar.Header
	for i := range 8 {
		large = append(large, tar.Header{Name: fmt.Sprintf("c/%d", i), Size: maxFile - 1})
	}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"up":      {packedFiles(t, tar.Header{Name: "c/../../x"}), "leads out of it"},
		"root":    {packedFiles(t, tar.Header{Name: "/c/x"}), "leads out of it"},
		"windows": {packedFiles(t, tar.Header{Name: `c\..\x`}), "leads out of it"},
		"link":    {packedFiles(t, tar.Header{Name: "c/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "is no regular file"},
		"hard":    {packedFiles(t, tar.Header{Name: "c/x", Typeflag: tar.TypeLink, Linkname: "c/y"}), "is no regular file"},
		"device":  {packedFiles(t, tar.Header{Name: "c/x", Typeflag: tar.TypeChar}), "is no regular file"},
		"large":   {bomb, "is too large"},
		"total":   {packedFiles(t, large...), "too large"},
		"many":    {packedFiles(t, many...), "more than"},
		"nested":  {inner, "too deep"},
		"cut":     {inner[:len(inner)/2], "archive"},
		"text":    {[]byte("x"), "no tar.gz"},
		"flat":    {packedFiles(t, tar.Header{Name: "Chart.yaml"}), "lies in no directory"},
	} {
		c2 := &chartFiles{origin: map[*byte]string{}}
		if err := c2.unpack("", "x.tgz", c.body, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nest packs a chart into the charts of another.
func nest(t *testing.T, inner []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "c/charts/c.tgz", Typeflag: tar.TypeReg, Size: int64(len(inner))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(inner); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzKustomization: whatever a kustomization says, looking at it ends, and
// what leads out of the snapshot is named, not read.
func FuzzKustomization(f *testing.F) {
	for _, s := range []string{
		"resources: [a.yaml, ../base]\n", "resources: [https://x.example.com/y, git@x:y, ../../..]\n", "{resources: [.]}", "helmCharts: 1\n",
		"configMapGenerator: [{name: x, files: [a=b], envs: [/etc/passwd]}]\n", "patches: [{path: ../../../etc/passwd}]\n", "buildMetadata: [originAnnotations]\n", "resources: &a [*a]\n",
		"openapi: {path: x}\nreplacements: [{path: y}]\ncomponents: [1, null]\n", "---\n---\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := memory{"k/kustomization.yaml": []byte(text), "k/a.yaml": []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"), "base/kustomization.yaml": []byte("resources: []\n")}
		r := newRun(context.Background(), Input{Tree: files, Path: "k"})
		k := newKustomization(r, "k")
		if err := k.look("k", 0); err != nil {
			if _, ok := inRepository("k", err); !ok {
				t.Fatalf("%q: %v", text, err)
			}
		}
		for _, d := range k.found {
			if d.Severity == plan.Error && d.Message == "" {
				t.Fatalf("%q: a mistake without text", text)
			}
		}
	})
}

// TestSecretsAreFoundAgain: whatever a template does to a secret that people
// do, it is found; and what has nothing of it is left alone.
func TestSecretsAreFoundAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ -~]{4,40}`).Filter(func(s string) bool { return len(strings.TrimSpace(s)) >= minInside && s != "true" && s != "false" }).Draw(t, "secret")
		s := newSecrets()
		s.add("f", secret)
		before, after := rapid.StringMatching(`[a-z:/@ ]{0,10}`).Draw(t, "before"), rapid.StringMatching(`[a-z:/@ ]{0,10}`).Draw(t, "after")
		text := before + secret + after
		for range rapid.IntRange(0, 2).Draw(t, "encodings") {
			text = "x: " + base64Std(text)
		}
		if !s.holds("other", text) {
			t.Fatalf("%q does not show %q", text, secret)
		}
		if out := s.scrub("mistake: " + text); strings.Contains(out, secret) {
			t.Fatalf("%q shows %q", out, secret)
		}
	})
	s := newSecrets()
	s.add("f", map[string]any{"a": "hunter2-hunter2", "b": true, "c": "ab", "d": 4711.0})
	for text, want := range map[string]bool{"hello": false, "true": false, "abc": false, "x ab y": true, "ab": true, "4711": true, "14711": false} {
		if s.holds("other", text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if !s.holds("f", true) || s.holds("other", true) || !s.holds("other", int64(4711)) || s.holds("other", int64(1)) {
		t.Error("numbers and booleans")
	}
}
