//go:build real

package git_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
)

// large makes a repository of n directories with a manifest each, and on top a
// commit that changes one file.
func large(t testing.TB, n int) *gitserver.Repo {
	t.Helper()
	r := gitserver.NewRepo(t)
	var in strings.Builder
	in.WriteString("commit refs/heads/main\ncommitter A <a@example.com> 1700000000 +0000\ndata 5\nlarge\n")
	for i := range n {
		body := fmt.Sprintf("version: %d\n", i)
		for _, name := range []string{"trueup.yaml", "app.yaml"} {
			fmt.Fprintf(&in, "M 100644 inline apps/team%d/app%d/%s\ndata %d\n%s\n", i%50, i, name, len(body), body)
		}
	}
	in.WriteString("M 100644 inline lib/common.yaml\ndata 2\nx\n\n")
	in.WriteString("commit refs/heads/main\ncommitter A <a@example.com> 1700000001 +0000\ndata 4\none\nM 100644 inline apps/team7/app7/app.yaml\ndata 7\nchanged\n")
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = r.Dir, strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fast-import: %v %s", err, out)
	}
	return r
}

// TestTenThousandDirectories bounds what would grow with the repository. The
// bounds leave room for a slow machine; a process per target would break them
// many times over.
func TestTenThousandDirectories(t *testing.T) {
	const n = 10_000
	start := time.Now()
	r := large(t, n)
	t.Logf("made in %s", time.Since(start))
	a, b := r.Git("rev-parse", "main~1"), r.Git("rev-parse", "main")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir})
	fetch(t, m)
	t.Logf("mirrored after %s", time.Since(start))
	within := func(what string, limit time.Duration, f func()) {
		t.Helper()
		start := time.Now()
		f()
		took := time.Since(start)
		t.Logf("%-32s %s", what, took)
		if took > limit {
			t.Errorf("%s took %s, the limit is %s", what, took, limit)
		}
	}
	find := func() {
		if found, err := m.Find(t.Context(), b, "trueup.yaml"); err != nil || len(found) != n {
			t.Errorf("%d %v", len(found), err)
		}
	}
	changed := func() {
		if got, err := m.Changed(t.Context(), a, b); err != nil || len(got) != 1 {
			t.Errorf("%v %v", got, err)
		}
	}
	within("changed, cold", time.Second, changed)
	within("find, cold", 8*time.Second, find)
	within("find, warm", 2*time.Second, find)
	within("changed, warm", 200*time.Millisecond, changed)
	s, err := m.Snapshot(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	within("ids of all targets", 2*time.Second, func() {
		for i := range n {
			if _, err := s.View(fmt.Sprintf("apps/team%d/app%d", i%50, i), []string{"lib/**"}).ID(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	within("fetch with nothing new", 5*time.Second, func() {
		if fetch(t, m) {
			t.Error("changed")
		}
	})
}
