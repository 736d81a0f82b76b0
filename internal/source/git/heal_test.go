package git_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
)

// damage are ways to break a mirror.
var damage = map[string]func(t *testing.T, repo string){
	"HEAD is gone":    func(t *testing.T, repo string) { remove(t, filepath.Join(repo, "HEAD")) },
	"objects is gone": func(t *testing.T, repo string) { remove(t, filepath.Join(repo, "objects")) },
	"all is gone":     func(t *testing.T, repo string) { remove(t, repo) },
	"packs are gone":  func(t *testing.T, repo string) { remove(t, filepath.Join(repo, "objects/pack")) },
	"pack is gone":    func(t *testing.T, repo string) { remove(t, glob(t, repo, "objects/pack/*.pack")...) },
	"index is gone":   func(t *testing.T, repo string) { remove(t, glob(t, repo, "objects/pack/*.idx")...) },
	"pack cut off": func(t *testing.T, repo string) {
		for _, p := range glob(t, repo, "objects/pack/*.pack") {
			write(t, p, "PACK")
		}
	},
	"config is rubbish": func(t *testing.T, repo string) { write(t, filepath.Join(repo, "config"), "[[[") },
	"ref is rubbish":    func(t *testing.T, repo string) { write(t, filepath.Join(repo, "refs/heads/main"), "rubbish\n") },
	"ref leads nowhere": func(t *testing.T, repo string) {
		write(t, filepath.Join(repo, "refs/heads/main"), strings.Repeat("ab", 20)+"\n")
	},
	"ref is empty": func(t *testing.T, repo string) { write(t, filepath.Join(repo, "refs/heads/main"), "") },
}

func remove(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.RemoveAll(n); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, name, body string) {
	t.Helper()
	remove(t, name)
	if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: %v %v", pattern, out, err)
	}
	return out
}

func TestMirrorHeals(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	c := r.Write("a", "2").Commit("two")
	for name, breakIt := range damage {
		for _, reopen := range []bool{true, false} {
			if !reopen && !strings.HasPrefix(name, "pack") {
				continue // Open has no part in what Fetch finds there
			}
			t.Run(fmt.Sprintf("%s, reopened %v", name, reopen), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "m")
				m := open(t, dir, source.Options{URL: r.Dir})
				fetch(t, m)
				if err := m.GC(t.Context()); err != nil { // packs instead of loose objects
					t.Fatal(err)
				}
				os.MkdirAll(filepath.Join(dir, "repo.git/refs/heads"), 0o700)
				breakIt(t, filepath.Join(dir, "repo.git"))
				if reopen {
					m = open(t, dir, source.Options{URL: r.Dir})
				}
				fetch(t, m)
				rev, err := m.Resolve(t.Context())
				if err != nil || rev.Commit != c {
					t.Fatalf("%+v %v", rev, err)
				}
				if b, err := view(t, m, c, ".").ReadFile("a"); string(b) != "2" {
					t.Errorf("%q %v", b, err)
				}
			})
		}
	}
}

// TestRottenObject breaks one object in the middle of a pack: that shows only
// when it is read.
func TestRottenObject(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("dir/a", strings.Repeat("content ", 100)).Commit("one")
	dir := filepath.Join(t.TempDir(), "m")
	m := open(t, dir, source.Options{URL: r.Dir})
	fetch(t, m)
	if err := m.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range glob(t, dir, "repo.git/objects/pack/*.pack") {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i := 14; i < len(b)-20; i++ {
			b[i] ^= 0x5a
		}
		write(t, p, string(b))
	}
	m = open(t, dir, source.Options{URL: r.Dir})
	if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrCorrupt) {
		t.Errorf("rot was not noticed: %v", err)
	}
	fetch(t, m)
	if b, err := view(t, m, c, ".").ReadFile("dir/a"); len(b) != 800 {
		t.Errorf("%q %v", b, err)
	}
}

func TestDamageWhileGitIsDownKeepsTheOldMirror(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("a", "1").Commit("one")
	dir := filepath.Join(t.TempDir(), "m")
	m := open(t, dir, source.Options{URL: r.Dir})
	fetch(t, m)
	if err := os.Rename(r.Dir, r.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	m = open(t, dir, source.Options{URL: r.Dir})
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c {
		t.Errorf("%v %v", rev, err)
	}
}

func TestStaleLocksAreCleared(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	dir := filepath.Join(t.TempDir(), "m")
	m := open(t, dir, source.Options{URL: r.Dir})
	fetch(t, m)
	repo := filepath.Join(dir, "repo.git")
	for _, l := range []string{"refs/heads/main.lock", "packed-refs.lock", "config.lock", "shallow.lock", "HEAD.lock", "gc.pid", "objects/pack/tmp_pack_x"} {
		os.MkdirAll(filepath.Dir(filepath.Join(repo, l)), 0o700)
		write(t, filepath.Join(repo, l), "")
	}
	c := r.Write("a", "2").Commit("two")
	fetch(t, m)
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c {
		t.Errorf("%v %v", rev, err)
	}
	if err := m.GC(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(repo, "objects/pack/tmp_*")); len(left) > 0 {
		t.Error(left)
	}
}

// TestHelperFetch is the process that TestKillInFetch kills.
func TestHelperFetch(t *testing.T) {
	dir, url := os.Getenv("TRUEUP_TEST_MIRROR"), os.Getenv("TRUEUP_TEST_URL")
	if dir == "" {
		return
	}
	m := open(t, dir, source.Options{URL: url})
	for {
		if _, err := m.Fetch(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKillInFetch(t *testing.T) {
	r := gitserver.NewRepo(t)
	dir := filepath.Join(t.TempDir(), "m")
	for i := range 6 {
		for j := range 20 {
			r.Write(fmt.Sprintf("d%d/f%d", j, i), strings.Repeat(fmt.Sprint(rand.Int64()), 500))
		}
		c := r.Commit(fmt.Sprint(i))
		cmd := exec.Command(os.Args[0], "-test.run=^TestHelperFetch$")
		cmd.Env = append(os.Environ(), "TRUEUP_TEST_MIRROR="+dir, "TRUEUP_TEST_URL="+r.Dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+rand.IntN(120)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		m := open(t, dir, source.Options{URL: r.Dir})
		fetch(t, m)
		if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c {
			t.Fatalf("kill %d: %v %v", i, rev, err)
		}
		if files, err := m.Entries(t.Context(), c, ".", true); err != nil || len(files) != 20*(i+2) {
			t.Fatalf("kill %d: %d entries, %v", i, len(files), err)
		}
	}
}

func TestTwoMirrorsOneDirectory(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "0").Commit("zero")
	dir := filepath.Join(t.TempDir(), "m")
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			m := open(t, dir, source.Options{URL: r.Dir})
			for range 3 {
				if _, err := m.Fetch(t.Context()); err != nil {
					t.Errorf("%d: fetch: %v", i, err)
				}
				rev, err := m.Resolve(t.Context())
				if err != nil {
					t.Errorf("%d: resolve: %v", i, err)
					continue
				}
				if err := m.GC(t.Context()); err != nil {
					t.Errorf("%d: gc: %v", i, err)
				}
				if _, err := m.Find(t.Context(), rev.Commit, "a"); err != nil {
					t.Errorf("%d: find: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelledFetchEndsSoon(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Fetch(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, source.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	fetch(t, m)
}
