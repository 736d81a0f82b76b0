package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

type blobs map[string][]byte

// Get gives a blob.
func (b blobs) Get(id string) ([]byte, bool, error) {
	v, ok := b[id]
	return v, ok, nil
}

// Put keeps a blob.
func (b blobs) Put(id string, body []byte) error {
	b[id] = body
	return nil
}

func TestStoredStandsInForTheMirror(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("app/a", "a", "app/sub/b", "b", "lib/x.tf", "x", "lib/y.md", "y", "other", "o").Link("sub/b", "app/l").Commit("c")
	dir := filepath.Join(t.TempDir(), "m")
	m, err := git.Open(t.Context(), dir, source.Options{URL: r.Dir, Follow: source.Follow{Branch: "main"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap, err := m.Snapshot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"app", "app/a", "."} {
		inputs := []string{"lib/**/*.tf"}
		live := snap.View(path, inputs)
		kept := blobs{}
		manifest, err := live.Save(t.Context(), kept)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := json.Marshal(manifest)
		var again []source.Entry
		if err := json.Unmarshal(body, &again); err != nil {
			t.Fatal(err)
		}
		stored := source.Stored(again, kept, source.Limits{}).View(path, inputs)
		same(t, live, stored)
		if path == "app/a" && len(kept) != 2 {
			t.Errorf("%s: %d blobs are kept", path, len(kept))
		}
	}
}

// same walks both and compares everything that can be asked.
func same(t *testing.T, a, b *source.View) {
	t.Helper()
	idA, err1 := a.ID(t.Context())
	idB, err2 := b.ID(t.Context())
	if err1 != nil || err2 != nil || idA != idB {
		t.Errorf("%s: ids %s %s %v %v", a.Path(), idA, idB, err1, err2)
	}
	var names [2][]string
	for i, v := range []*source.View{a, b} {
		err := fs.WalkDir(v, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			content := ""
			if !d.IsDir() {
				b, err := v.ReadFile(p)
				if err != nil && !errors.Is(err, source.ErrOutside) {
					return err
				}
				content = string(b)
			}
			names[i] = append(names[i], p+" "+d.Type().String()+" "+content)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if len(names[0]) < 2 || !slices.Equal(names[0], names[1]) {
		t.Errorf("%s:\n%v\n%v", a.Path(), names[0], names[1])
	}
	if !slices.Equal(a.Reads(), b.Reads()) {
		t.Errorf("%s: reads differ:\n%v\n%v", a.Path(), a.Reads(), b.Reads())
	}
	if err := fstest.TestFS(b, "app/a"); err != nil {
		t.Error(err)
	}
}

func TestLFSPointerIsAnError(t *testing.T) {
	ptr := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 5\n"
	s := source.Stored([]source.Entry{{Path: "big", Mode: source.ModeFile, ID: "1"}}, blobs{"1": []byte(ptr)}, source.Limits{})
	if _, err := s.View(".", nil).ReadFile("big"); !errors.Is(err, source.ErrLFS) {
		t.Errorf("%v", err)
	}
}

// hostile is a tree of links in all directions and names of all kinds.
func hostile() *source.Snapshot {
	kept := blobs{"f": []byte("inside"), "out": []byte("OUTSIDE")}
	var m []source.Entry
	for i, to := range []string{"a", "../out", "../../x", "/etc/passwd", "sub/../a", "sub/up", ".", "..", "loop", "sub/./../../app/a", "\x00", "", "../out/secret", "sub//a"} {
		id := "l" + string(rune('0'+i))
		kept[id] = []byte(to)
		m = append(m, source.Entry{Path: "app/" + id, Mode: source.ModeSymlink, ID: id}, source.Entry{Path: "app/sub/" + id, Mode: source.ModeSymlink, ID: id})
	}
	for _, p := range []string{"app/a", "app/sub/a", "app/.GIT", "app/x\x01"} {
		m = append(m, source.Entry{Path: p, Mode: source.ModeFile, ID: "f"})
	}
	m = append(m, source.Entry{Path: "out/secret", Mode: source.ModeFile, ID: "out"}, source.Entry{Path: "app/mod", Mode: source.ModeGitlink, ID: "c"})
	return source.Stored(m, kept, source.Limits{})
}

// FuzzViewPaths: whatever the name, nothing outside the confinement is read,
// and nothing that was read goes unrecorded.
func FuzzViewPaths(f *testing.F) {
	for _, s := range []string{"app/a", "app/l1/secret", "app/sub/l4", "out/secret", "../x", "app/l;", "/", "app/sub/l7/l1/secret", "app/l6/l6/a"} {
		f.Add(s)
	}
	snap := hostile()
	f.Fuzz(func(t *testing.T, name string) {
		v := snap.View("app", nil).WithContext(context.Background())
		b, err := v.ReadFile(name)
		if err == nil && string(b) != "inside" {
			t.Errorf("%q gave %q", name, b)
		}
		_, _ = v.ReadDir(name)
		_, _ = v.Stat(name)
		_, _ = v.Lstat(name)
		_, _ = v.ReadLink(name)
		for _, r := range v.Reads() {
			if r.Op == "file" && r.Path != "app" && !strings.HasPrefix(r.Path, "app/") {
				t.Errorf("%q read %s", name, r.Path)
			}
		}
		if err == nil && !slices.ContainsFunc(v.Reads(), func(r source.Read) bool { return r.Op == "file" }) {
			t.Errorf("%q was read and not recorded", name)
		}
	})
}
