package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

func open(t testing.TB, dir string, opt source.Options) *git.Mirror {
	t.Helper()
	if opt.Follow == (source.Follow{}) {
		opt.Follow.Branch = "main"
	}
	m, err := git.Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func fetch(t testing.TB, m *git.Mirror) bool {
	t.Helper()
	changed, err := m.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func mirrorOf(t testing.TB, r *gitserver.Repo) *git.Mirror {
	t.Helper()
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir})
	fetch(t, m)
	return m
}

func view(t testing.TB, m *git.Mirror, commit, path string, inputs ...string) *git.View {
	t.Helper()
	s, err := m.Snapshot(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	return s.View(path, inputs)
}

func TestFetchResolveChanged(t *testing.T) {
	r := gitserver.NewRepo(t)
	a := r.Write("dns/zone", "1\n", "dns/other", "x", "apps/one/a.yaml", "a", "trueup.yaml", "v: 1").Commit("first\n\nbody")
	m := mirrorOf(t, r)
	rev, err := m.Resolve(t.Context())
	if err != nil || rev.Commit != a || rev.Ref != "refs/heads/main" || rev.Subject != "first" || rev.Author != "Ann Author" || rev.AuthorEmail != "ann@example.com" || rev.Time.IsZero() {
		t.Fatalf("%+v %v", rev, err)
	}
	if fetch(t, m) {
		t.Error("nothing was pushed, yet Fetch says changed")
	}
	os.Remove(filepath.Join(r.Dir, "dns/other"))
	b := r.Write("dns/zone", "2\n", "apps/two/b.yaml", "b").Commit("second")
	if !fetch(t, m) {
		t.Error("a push was not noticed")
	}
	got, err := m.Changed(t.Context(), a, b)
	if want := []string{"apps/two/b.yaml", "dns/other", "dns/zone"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("changed: %v %v, want %v", got, err, want)
	}
	all, err := m.Changed(t.Context(), "", b)
	if want := strings.Split(r.Git("ls-tree", "-r", "--name-only", "HEAD"), "\n"); err != nil || !slices.Equal(all, want) {
		t.Errorf("all: %v %v, want %v", all, err, want)
	}
	if ok, err := m.IsAncestor(t.Context(), a, b); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := m.IsAncestor(t.Context(), b, a); ok || err != nil {
		t.Error(ok, err)
	}
	found, err := m.Find(t.Context(), b, "trueup.yaml")
	if err != nil || len(found) != 1 || found[0].Path != "trueup.yaml" {
		t.Error(found, err)
	}
}

func TestViewIsAFileSystem(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("app/a.txt", "hello", "app/sub/b.txt", "world", "shared/x", "x", "secret/y", "y").Link("sub/b.txt", "app/link").Link("../shared", "app/dir").Commit("c")
	m := mirrorOf(t, r)
	v := view(t, m, c, "app", "shared/**")
	if err := fstest.TestFS(v, "app/a.txt", "app/sub/b.txt", "app/link", "shared/x"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(v, "app/link"); string(b) != "world" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := fs.ReadFile(v, "app/dir/x"); string(b) != "x" {
		t.Errorf("%q %v", b, err)
	}
	names, err := fs.ReadDir(v, ".")
	if err != nil || len(names) != 2 || names[0].Name() != "app" || names[1].Name() != "shared" {
		t.Errorf("%v %v", names, err)
	}
}

func TestOutsideNamesTheLine(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("app/a", "a", "mod/vpc/x", "x").Link("../mod/vpc/x", "app/l").Commit("c")
	v := view(t, mirrorOf(t, r), c, "app")
	for name, line := range map[string]string{"mod/vpc/x": "inputs: [mod/vpc/x]", "mod/vpc": "inputs: [mod/vpc/**]", "app/l": "inputs: [mod/vpc/x]", "gone/y": "inputs: [gone/y]"} {
		_, err := v.ReadFile(name)
		var out *source.OutsideError
		if !errors.As(err, &out) || out.Line() != line || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadsAndID(t *testing.T) {
	r := gitserver.NewRepo(t)
	a := r.Write("app/a", "a", "lib/m", "m", "other/o", "o").Commit("a")
	b := r.Write("other/o", "changed").Commit("b")
	c := r.Write("lib/m", "changed").Commit("c")
	m := mirrorOf(t, r)
	id := func(commit string) string {
		s, err := view(t, m, commit, "app", "lib/**").ID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if id(a) != id(b) {
		t.Error("a change outside the inputs changed the id")
	}
	if id(b) == id(c) {
		t.Error("a change in an input did not change the id")
	}
	v := view(t, m, a, "app", "lib/**")
	_, _ = v.ReadFile("app/a")
	_, _ = v.ReadFile("app/none")
	want := []git.Read{{Path: "app/a", Op: "file", ID: r.Git("rev-parse", a+":app/a")}, {Path: "app/none", Op: "lookup"}}
	if got := v.Reads(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
