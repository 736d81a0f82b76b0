package config_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

type loadedOnce struct {
	s     *config.Server
	diags plan.Diagnostics
}

func write(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatcherReloadsAndRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.yaml")
	write(t, path, "version: 1\nfreeze: first\n")
	first, diags := config.LoadServer(path, fakes(t))
	if first == nil {
		t.Fatal(diags)
	}
	got := make(chan loadedOnce, 10)
	w, err := config.NewWatcher(path, first, fakes(t), func(s *config.Server, d plan.Diagnostics) { got <- loadedOnce{s, d} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	next := func(what string) loadedOnce {
		t.Helper()
		select {
		case l := <-got:
			return l
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing was loaded", what)
		}
		return loadedOnce{}
	}

	write(t, path, "version: 1\nfreeze: second\n")
	if l := next("a write"); l.s == nil || l.s.Freeze != "second" {
		t.Errorf("after a write: %+v", l)
	}
	other := filepath.Join(filepath.Dir(path), "new")
	write(t, other, "version: 1\nfreeze: third\n")
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if l := next("a rename"); l.s == nil || l.s.Freeze != "third" {
		t.Errorf("after a rename: %+v", l)
	}
	write(t, path, "version: 1\nfreze: fourth\n")
	if l := next("a bad file"); l.s != nil || l.diags.Err() == nil {
		t.Errorf("a bad file was taken: %+v", l)
	}
	write(t, path, "version: 1\nfreeze: third\n")
	if l := next("the old text again"); l.s == nil || l.s.Freeze != "third" {
		t.Errorf("after putting the old text back: %+v", l)
	}
	w.Reload()
	if l := next("SIGHUP"); l.s == nil {
		t.Errorf("after a reload on request: %+v", l)
	}
	write(t, path, "version: 1\nfreeze: third\n") // touched only
	select {
	case l := <-got:
		t.Errorf("a file that was only touched was loaded: %+v", l)
	case <-time.After(time.Second):
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("Run ended with %v", err)
	}
}

// A mounted volume swaps a directory link: the file's own name shows up in no
// event.
func TestWatcherFollowsSwappedLinks(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, v, "server.yaml"), "version: 1\nfreeze: "+v+"\n")
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", "..data")
	link("..data/server.yaml", "server.yaml")
	path := filepath.Join(dir, "server.yaml")
	s, diags := config.LoadServer(path, fakes(t))
	if s == nil {
		t.Fatal(diags)
	}
	got := make(chan loadedOnce, 10)
	w, err := config.NewWatcher(path, s, fakes(t), func(s *config.Server, d plan.Diagnostics) { got <- loadedOnce{s, d} })
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.Run(t.Context()) }()
	time.Sleep(300 * time.Millisecond) // past the first look
	link("v2", "..new")
	if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	select {
	case l := <-got:
		if l.s == nil || l.s.Freeze != "v2" {
			t.Errorf("loaded %+v", l)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the swapped link was not noticed")
	}
}
