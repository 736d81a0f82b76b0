package git_test

import (
	"errors"
	"slices"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

// forked makes a repository with a pull request's ref beside main.
func forked(t *testing.T, onMain, onBranch []string) (r *gitserver.Repo, base, head string) {
	t.Helper()
	r = gitserver.NewRepo(t)
	r.Write("a", "1\n2\n3\n4\n5\n", "b", "b\n").Commit("first")
	r.Git("checkout", "-q", "-b", "feature")
	head = r.Write(onBranch...).Commit("on the branch")
	r.Git("update-ref", "refs/pull/7/head", head)
	r.Git("checkout", "-q", "main")
	base = r.Write(onMain...).Commit("on main")
	return r, base, head
}

func TestMergeIsWhatGitWouldMake(t *testing.T) {
	r, base, head := forked(t, []string{"a", "1\n2\n3\n4\nfive\n", "c", "c\n"}, []string{"a", "one\n2\n3\n4\n5\n", "d", "d\n"})
	m := mirrorOf(t, r)
	got, err := m.FetchAside(t.Context(), "pull/7", "refs/pull/7/head")
	if err != nil || got[0].Commit != head || got[0].Ref != "refs/pull/7/head" {
		t.Fatalf("%+v %v", got, err)
	}
	merged, err := m.Merge(t.Context(), "pull/7", base, head)
	if err != nil {
		t.Fatal(err)
	}
	r.Git("merge", "-q", "--no-edit", "feature")
	if want := r.Git("rev-parse", "HEAD^{tree}"); merged.Tree != want {
		t.Errorf("the tree is %s, git merge made %s", merged.Tree, want)
	}
	if !slices.Equal(merged.Parents, []string{base, head}) {
		t.Errorf("the parents are %v", merged.Parents)
	}
	again, err := m.Merge(t.Context(), "pull/7", base, head)
	if err != nil || again.Commit != merged.Commit {
		t.Errorf("the second merge is %s, the first was %s: %v", again.Commit, merged.Commit, err)
	}
	fetch(t, m) // what was fetched aside stays
	changed, err := m.Changed(t.Context(), base, merged.Commit)
	if err != nil || !slices.Equal(changed, []string{"a", "d"}) {
		t.Errorf("changed: %v %v", changed, err)
	}
	if err := m.DropAside(t.Context(), "pull/7"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ResolveRef(t.Context(), "refs/trueup/aside/pull/7/merge"); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("the ref is still there: %v", err)
	}
}

func TestMergeConflictNamesTheFiles(t *testing.T) {
	r, base, head := forked(t, []string{"a", "main\n", "b", "main\n"}, []string{"a", "branch\n", "b", "branch\n", "ok", "ok\n"})
	m := mirrorOf(t, r)
	if _, err := m.FetchAside(t.Context(), "pull/7", "refs/pull/7/head"); err != nil {
		t.Fatal(err)
	}
	_, err := m.Merge(t.Context(), "pull/7", base, head)
	var conflict *git.ConflictError
	if !errors.As(err, &conflict) || !slices.Equal(conflict.Files, []string{"a", "b"}) || !errors.Is(err, git.ErrConflict) {
		t.Fatalf("%v", err)
	}
}

func TestFetchAsideRefusesOddRefs(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("first")
	m := mirrorOf(t, r)
	for _, ref := range []string{"main", "refs/heads/../x", "refs/heads/a:b", "--upload-pack=x", "refs/heads/*"} {
		if _, err := m.FetchAside(t.Context(), "pull/1", ref); err == nil {
			t.Errorf("%q was taken", ref)
		}
	}
	if _, err := m.FetchAside(t.Context(), "pull/1", "refs/pull/1/head"); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("a ref that is not there: %v", err)
	}
	if _, err := m.Merge(t.Context(), "pull/1", "HEAD", "--help"); err == nil {
		t.Error("Merge takes names")
	}
}

func TestTheServerNamesItsDefaultBranch(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("first")
	m := open(t, t.TempDir(), source.Options{URL: r.Dir})
	if name, err := m.DefaultBranch(t.Context()); err != nil || name != "main" {
		t.Errorf("%q %v", name, err)
	}
}
