package registry

import (
	"archive/tar"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
)

func TestUnpack(t *testing.T) {
	f, err := Unpack(tgz(t, map[string]string{"./a.yaml": "one", "dir/b.yaml": "two", "dir/sub/ümlaut.yaml": "", "c:d": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(f, "a.yaml", "dir/b.yaml", "dir/sub/ümlaut.yaml"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(f, "dir/b.yaml"); err != nil || string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
	if f, err := Unpack(tgz(t, nil)); err != nil {
		t.Error(err)
	} else if l, err := fs.ReadDir(f, "."); err != nil || len(l) != 0 {
		t.Errorf("an empty archive: %v, %v", l, err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Size: 1, Typeflag: tar.TypeReg} }
	for what, heads := range map[string][]tar.Header{
		"up":              {file("../x")},
		"up inside":       {file("a/../../x")},
		"absolute":        {file("/etc/passwd")},
		"backslash":       {file(`a\b`)},
		"a link":          {{Name: "l", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}},
		"a hard link":     {{Name: "l", Linkname: "a", Typeflag: tar.TypeLink}},
		"a device":        {{Name: "d", Typeflag: tar.TypeChar}},
		"twice":           {file("a"), file("./a")},
		"file below file": {file("a"), file("a/b")},
		"file over dir":   {file("a/b"), file("a")},
		"dir over file":   {file("a"), {Name: "a/", Typeflag: tar.TypeDir}},
		"deep":            {file(strings.Repeat("a/", 70) + "x")},
		"many":            {file("a"), file("b"), file("c"), file("d"), file("e"), file("f"), file("g"), file("h"), file("i"), file("j"), file("k")},
		"large":           {{Name: "a", Size: 2000, Typeflag: tar.TypeReg}},
		"large together":  {{Name: "a", Size: 600, Typeflag: tar.TypeReg}, {Name: "b", Size: 600, Typeflag: tar.TypeReg}},
	} {
		b := tarOf(t, heads, func(n string) string {
			for _, h := range heads {
				if h.Name == n {
					return strings.Repeat("x", int(h.Size))
				}
			}
			return ""
		})
		if _, err := unpack(b, 10, 1000); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	whole := tgz(t, map[string]string{"a": strings.Repeat("text ", 1000)})
	for what, b := range map[string][]byte{"nothing": nil, "no gzip": []byte("hello"), "cut": whole[:len(whole)/2], "broken sum": append(whole[:len(whole)-8:len(whole)-8], 1, 2, 3, 4, 5, 6, 7, 8)} {
		if _, err := Unpack(b); !errors.Is(err, ErrContent) || !driver.IsPermanent(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Headers alone may not go on for ever.
	if _, err := unpack(tarOf(t, []tar.Header{{Name: "a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"x.y": strings.Repeat("x", 900_000)}}}, nil), 10, 1000); err == nil {
		t.Error("a huge header is accepted")
	}
}
