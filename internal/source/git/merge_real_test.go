//go:build real

package git_test

import (
	"path/filepath"
	"testing"

	"trueup.dev/trueup/internal/source"
)

// A mirror without blobs fetches those that a merge needs, with credentials.
func TestMergeInABloblessMirror(t *testing.T) {
	r, s := served(t)
	r.Write("a", "1\n2\n3\n4\n5\n", "old", "the same text\nin many\nlines\nhere\n").Commit("first")
	r.Git("checkout", "-q", "-b", "feature")
	head := r.Write("a", "one\n2\n3\n4\n5\n").Commit("on the branch")
	r.Git("update-ref", "refs/pull/7/head", head)
	r.Git("checkout", "-q", "main")
	r.Git("mv", "old", "new")
	base := r.Write("a", "1\n2\n3\n4\nfive\n").Commit("on main")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: s.URL + "/repo", Credentials: token()})
	fetch(t, m)
	if _, err := m.FetchAside(t.Context(), "pull/7", "refs/pull/7/head"); err != nil {
		t.Fatal(err)
	}
	merged, err := m.Merge(t.Context(), "pull/7", base, head)
	if err != nil {
		t.Fatal(err)
	}
	r.Git("merge", "-q", "--no-edit", "feature")
	if want := r.Git("rev-parse", "HEAD^{tree}"); merged.Tree != want {
		t.Errorf("the tree is %s, git merge made %s", merged.Tree, want)
	}
}
