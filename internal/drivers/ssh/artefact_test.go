package ssh

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type member struct {
	name, link, text string
	kind             byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Name: m.name, Linkname: m.link, Typeflag: m.kind, Size: int64(len(m.text)), Mode: 0o4777, Uid: 1000}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func repacked(t testing.TB, archive []byte, kind string, strip int) (*pack, []byte, error) {
	t.Helper()
	dir := t.TempDir()
	raw, out := filepath.Join(dir, "raw"), filepath.Join(dir, "out")
	if err := os.WriteFile(raw, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &pack{}
	err = p.repack(&artefactState{kind: kind, want: artefactEntry{Strip: strip}}, in, f)
	b, _ := os.ReadFile(out)
	return p, b, err
}

// TestHostileArchives: nothing of an archive may leave its release.
func TestHostileArchives(t *testing.T) {
	for name, m := range map[string][]member{
		"parent":                {{name: "../x", text: "x"}},
		"absolute":              {{name: "/etc/x", text: "x"}},
		"in the middle":         {{name: "a/../../x", text: "x"}},
		"link out":              {{name: "a", link: "../x", kind: tar.TypeSymlink}},
		"absolute link":         {{name: "a", link: "/etc", kind: tar.TypeSymlink}},
		"through a link":        {{name: "a", link: "b", kind: tar.TypeSymlink}, {name: "a/x", text: "x"}},
		"over a link":           {{name: "a", link: "b", kind: tar.TypeSymlink}, {name: "a", text: "x"}},
		"link over a file":      {{name: "a", text: "x"}, {name: "a", link: "b", kind: tar.TypeSymlink}},
		"hard link":             {{name: "a", link: "/etc/shadow", kind: tar.TypeLink}},
		"device":                {{name: "a", kind: tar.TypeChar}},
		"twice":                 {{name: "a", text: "x"}, {name: "a", text: "y"}},
		"nothing":               {{name: "a/", kind: tar.TypeDir}},
		"line break":            {{name: "a\nb", text: "x"}},
		"stripped out of bound": {{name: "top/../../x", text: "x"}},
	} {
		if _, _, err := repacked(t, tarOf(t, m...), "tar", 0); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
	p, out, err := repacked(t, tarOf(t, member{name: "top/", kind: tar.TypeDir}, member{name: "top/bin/app", text: "app"}, member{name: "top/latest", link: "bin/app", kind: tar.TypeSymlink}), "tar", 1)
	if err != nil || !strings.HasSuffix(p.sums, "  ./bin/app\n") {
		t.Fatalf("%v %q", err, p.sums)
	}
	r := tar.NewReader(bytes.NewReader(out))
	h, err := r.Next()
	if err != nil || h.Name != "./bin/app" || h.Mode != 0o755 || h.Uid != 0 {
		t.Fatalf("%+v %v", h, err)
	}
	if h, err = r.Next(); err != nil || h.Linkname != "bin/app" {
		t.Fatalf("%+v %v", h, err)
	}
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	f, err := w.Create("../../etc/x")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("x"))
	_ = w.Close()
	if _, _, err := repacked(t, z.Bytes(), "zip", 0); err == nil {
		t.Error("a zip archive with ../ passes")
	}
}

// FuzzArchive: whatever an archive holds, what is made of it stays inside.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, member{name: "a/b", text: "x"}), false)
	f.Add(tarOf(f, member{name: "a", link: "../b", kind: tar.TypeSymlink}), false)
	f.Add([]byte("PK\x03\x04"), true)
	f.Fuzz(func(t *testing.T, archive []byte, zipped bool) {
		kind := "tar"
		if zipped {
			kind = "zip"
		}
		_, out, err := repacked(t, archive, kind, 0)
		if err != nil {
			return
		}
		r := tar.NewReader(bytes.NewReader(out))
		for {
			h, err := r.Next()
			if err != nil {
				return
			}
			if strings.Contains(h.Name, "../") || !strings.HasPrefix(h.Name, "./") || strings.HasPrefix(h.Linkname, "/") || h.Mode&^0o777 != 0 {
				t.Fatalf("%+v", h)
			}
		}
	})
}
