package source_test

import (
	"errors"
	"io/fs"
	"testing"

	"trueup.dev/trueup/internal/source"
)

func TestIdsTellWhatLiesThere(t *testing.T) {
	view := func(body string, more ...string) *source.View {
		m := []source.Entry{{Path: "a/f", Mode: source.ModeFile, ID: "id-" + body}, {Path: "a/l", Mode: source.ModeSymlink, ID: "link"}, {Path: "out/x", Mode: source.ModeFile, ID: "x"}}
		for _, p := range more {
			m = append(m, source.Entry{Path: p, Mode: source.ModeFile, ID: "x"})
		}
		return source.Stored(m, blobs{"id-" + body: []byte(body), "link": []byte("f"), "x": nil}, source.Limits{Total: 5}).View("a", nil)
	}
	ids := func(v *source.View) [3]string {
		var out [3]string
		for i, n := range []string{"a/f", "a/l", "a"} {
			id, err := v.Identify(n)
			if err != nil {
				t.Fatal(err)
			}
			out[i] = id
		}
		return out
	}
	one, same, other, grown := ids(view("1")), ids(view("1")), ids(view("2")), ids(view("1", "a/g"))
	if one != same || one[0] != one[1] || one[0] == other[0] || one[1] == other[1] || one[2] != other[2] || one[2] == grown[2] {
		t.Error(one, same, other, grown)
	}
	v := view("1")
	if _, err := v.Identify("out/x"); !errors.Is(err, source.ErrOutside) {
		t.Error(err)
	}
	if _, err := v.Identify("a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// What was only identified counts as read, but its bytes count once it is.
	if _, err := v.Identify("a/f"); err != nil || len(v.Reads()) == 0 {
		t.Error(v.Reads(), err)
	}
	large := view("123456")
	if _, err := large.Identify("a/f"); err != nil {
		t.Error(err)
	}
	if _, err := large.ReadFile("a/f"); !errors.Is(err, source.ErrTooLarge) {
		t.Error(err)
	}
}
