package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
)

func TestSymlinksStayInside(t *testing.T) {
	r := gitserver.NewRepo(t)
	outside := filepath.Join(t.TempDir(), "passwd")
	write(t, outside, "root")
	c := r.Write("app/a", "a").Link(outside, "app/abs").Link("../../../../../../../../"+outside, "app/up").Link("../..", "app/root").
		Link("loop2", "app/loop1").Link("loop1", "app/loop2").Link("self/x", "app/self").Link("a", "app/good").Link("gone", "app/dangling").
		Link("..", "app/parent").Commit("c")
	v := view(t, mirrorOf(t, r), c, "app")
	for _, name := range []string{"app/abs", "app/up", "app/root", "app/loop1", "app/self", "app/abs/x", "app/root/etc/passwd"} {
		b, err := v.ReadFile(name)
		if !errors.Is(err, source.ErrUnsafe) {
			t.Errorf("%s: %q %v", name, b, err)
		}
		if _, err := v.ReadDir(name); !errors.Is(err, source.ErrUnsafe) {
			t.Errorf("readdir %s: %v", name, err)
		}
	}
	if b, err := v.ReadFile("app/good"); string(b) != "a" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := v.ReadFile("app/dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dangling: %v", err)
	}
	if _, err := v.ReadFile("app/parent/app/a"); err != nil {
		t.Errorf("a link inside the tree: %v", err)
	}
	for _, name := range []string{"/etc/passwd", "../x", "app/../app/a", "app//a", "./app", "app/a/"} {
		if _, err := v.ReadFile(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("x", "x").Commit("x")
	blob := r.Blob("evil")
	for _, name := range []string{".git", ".GIT", "GIT~1", ".git.", ".git ", ".g\u200cit", "a\x01b", "a\nb", "a\x7fb", "back\\slash", "..", ".", ".git:x", "a\xff"} {
		c := r.RawTree("100644 blob "+blob+"\tgood", "100644 blob "+blob+"\t"+name)
		m := mirrorOf(t, r)
		v := view(t, m, c, ".")
		if b, err := v.ReadFile("good"); string(b) != "evil" {
			t.Errorf("%q beside it: %q %v", name, b, err)
		}
		if _, err := v.ReadDir("."); !errors.Is(err, source.ErrUnsafe) {
			t.Errorf("listing %q: %v", name, err)
		}
		if _, err := v.ReadFile(name); err == nil {
			t.Errorf("%q was read", name)
		}
		if _, err := m.Find(t.Context(), c, "good"); err != nil {
			t.Errorf("find beside %q: %v", name, err)
		}
	}
	c := r.RawTree("100644 blob "+blob+"\tReadme", "100644 blob "+blob+"\treadme", "100644 blob "+blob+"\tother")
	v := view(t, mirrorOf(t, r), c, ".")
	if _, err := v.ReadFile("readme"); !errors.Is(err, source.ErrUnsafe) {
		t.Errorf("names that differ by case: %v", err)
	}
	if _, err := v.ReadFile("other"); err != nil {
		t.Error(err)
	}
}

// TestNothingRuns gives the repository every hook and filter there is, each of
// which would leave a file.
func TestNothingRuns(t *testing.T) {
	r := gitserver.NewRepo(t)
	mark := filepath.Join(t.TempDir(), "ran")
	run := "touch " + mark
	r.Write(".gitattributes", "* filter=evil diff=evil merge=evil text\n", "a", "a\n", ".lfsconfig", "[lfs]\nurl = http://127.0.0.1:1/\n").Commit("one")
	for _, k := range []string{"filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.evil.command", "diff.external", "core.fsmonitor",
		"core.sshCommand", "core.pager", "core.askPass", "credential.helper", "gpg.program", "uploadpack.packObjectsHook", "core.editor", "core.alternateRefsCommand"} {
		r.Git("config", k, run)
	}
	hooks := filepath.Join(r.Dir, ".git/hooks")
	os.MkdirAll(hooks, 0o755)
	for _, h := range []string{"post-checkout", "pre-receive", "post-update", "reference-transaction", "pre-auto-gc", "post-rewrite", "post-index-change", "pre-push", "post-merge"} {
		if err := os.WriteFile(filepath.Join(hooks, h), []byte("#!/bin/sh\n"+run+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, mark)
	t.Setenv("GIT_SSH_COMMAND", run)
	t.Setenv("GIT_EXTERNAL_DIFF", run)
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_CONFIG_PARAMETERS", "'core.fsmonitor="+run+"'")
	m := mirrorOf(t, r)
	rev, err := m.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Blame(t.Context(), rev.Commit, "a", 1); err != nil {
		t.Error(err)
	}
	if err := view(t, m, rev.Commit, ".").Prefetch(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.GC(t.Context()); err != nil {
		t.Error(err)
	}
	checkout(t, r.Dir)
	if _, err := os.Stat(mark); err == nil {
		t.Error("code from the repository's configuration ran")
	}
}

func TestSubmodulesAreOff(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("x", "x").Commit("x")
	blob := r.Blob("a")
	c := r.RawTree("100644 blob "+blob+"\ta", "160000 commit "+strings.Repeat("1", 40)+"\tsub")
	v := view(t, mirrorOf(t, r), c, ".")
	if _, err := v.ReadFile("sub/x"); !errors.Is(err, source.ErrSubmodule) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := v.ReadFile("a"); err != nil {
		t.Error(err)
	}
}

// TestSubmoduleURLs: none of these may be followed, whatever is enabled.
func TestSubmoduleURLs(t *testing.T) {
	secretRepo := gitserver.NewRepo(t)
	commit := secretRepo.Write("s", "secret").Commit("s")
	mark := filepath.Join(t.TempDir(), "ran")
	for _, url := range []string{"ext::sh -c touch% " + mark, "file://" + secretRepo.Dir, secretRepo.Dir, "../" + filepath.Base(secretRepo.Dir), "./x",
		"-u" + mark, "ssh://-oProxyCommand=touch " + mark + "/x", "http://127.0.0.1:1/x", "git://127.0.0.1/x", "https://169.254.169.254/latest"} {
		r := gitserver.NewRepo(t)
		r.Write("x", "x").Commit("x")
		mods := r.Blob("[submodule \"s\"]\n\tpath = sub\n\turl = \"" + url + "\"\n\tupdate = !touch " + mark + "\n")
		c := r.RawTree("100644 blob "+mods+"\t.gitmodules", "160000 commit "+commit+"\tsub")
		m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Submodules: source.Submodules{Enabled: true}})
		fetch(t, m)
		if b, err := view(t, m, c, ".").ReadFile("sub/s"); !errors.Is(err, source.ErrSubmodule) {
			t.Errorf("%s: %q %v", url, b, err)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a command of a submodule ran")
	}
}

func TestSubmoduleByTheOperatorsLeave(t *testing.T) {
	sub := gitserver.NewRepo(t)
	commit := sub.Write("dir/s", "from the submodule").Commit("s")
	r := gitserver.NewRepo(t)
	r.Write("x", "x").Commit("x")
	mods := r.Blob("[submodule \"s\"]\n\tpath = sub\n\turl = " + sub.Dir + "\n")
	c := r.RawTree("100644 blob "+mods+"\t.gitmodules", "160000 commit "+commit+"\tsub")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Submodules: source.Submodules{Enabled: true, Allow: []string{sub.Dir}}})
	fetch(t, m)
	v := view(t, m, c, "sub")
	if err := v.Prefetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := v.ReadFile("sub/dir/s"); string(b) != "from the submodule" {
		t.Errorf("%q %v", b, err)
	}
	if names, err := v.ReadDir("sub"); err != nil || len(names) != 1 || names[0].Name() != "dir" {
		t.Errorf("%v %v", names, err)
	}
}

func TestLimits(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("big", strings.Repeat("x", 2000), "small", "x", "d/1", strings.Repeat("1", 900), "d/2", strings.Repeat("2", 900)).Commit("c")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Limits: source.Limits{Blob: 1000, Total: 1500, Nodes: 100}})
	fetch(t, m)
	v := view(t, m, c, ".")
	if _, err := v.ReadFile("big"); !errors.Is(err, source.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := v.ReadFile("small"); err != nil {
		t.Errorf("after a large file: %v", err)
	}
	_, err1 := v.ReadFile("d/1")
	_, err2 := v.ReadFile("d/2")
	if err1 != nil || !errors.Is(err2, source.ErrTooLarge) {
		t.Errorf("total: %v %v", err1, err2)
	}
}

// TestTreeBomb: ten levels of ten directories, all the same, are 10^10 files.
func TestTreeBomb(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("x", "x").Commit("x")
	entry := "100644 blob " + r.Blob("boom") + "\t"
	for range 10 {
		var tree []string
		for i := range 10 {
			tree = append(tree, entry+string(rune('a'+i)))
		}
		c := r.RawTree(tree...)
		entry = "040000 tree " + r.Git("rev-parse", c+"^{tree}") + "\t"
	}
	c := r.Git("rev-parse", "main")
	v := view(t, mirrorOf(t, r), c, ".")
	if err := v.Prefetch(t.Context()); !errors.Is(err, source.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := v.ID(t.Context()); err != nil {
		t.Errorf("the id needs no walk: %v", err)
	}
}
