package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
)

// TestOldGenerationsAreRefused, also by a new process and after the target
// was destroyed or forgotten.
func TestOldGenerationsAreRefused(t *testing.T) {
	dir := t.TempDir()
	k, errs := openKeeper(dir)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(gen int64) {
		t.Helper()
		if err := k.begin("t", gen); err == nil || !strings.Contains(err.Error(), "replay") {
			t.Errorf("generation %d: %v", gen, err)
		}
	}
	ok(k.begin("t", 5))
	ok(k.finish("t", 5, &wire.Envelope{Payload: []byte("5")}, nil, time.Now()))
	refused(5)
	refused(4)
	ok(k.begin("t", 7)) // and then the process dies
	k, errs = openKeeper(dir)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if s, ok := k.get("t"); !ok || s.Doubt == "" || string(s.Envelope.Payload) != "5" {
		t.Errorf("an apply that was cut off leaves %+v", s)
	}
	refused(7)
	ok(k.finish("t", 6, &wire.Envelope{Payload: []byte("6")}, nil, time.Now()))
	if s, _ := k.get("t"); string(s.Envelope.Payload) != "5" {
		t.Error("an older apply came to its end and was kept")
	}
	ok(k.begin("t", 8))
	ok(k.finish("t", 8, nil, nil, time.Now())) // destroyed
	ok(k.allow(map[string]wire.Alone{"t": {Forget: true}}))
	if _, kept := k.get("t"); kept {
		t.Error("a destroyed target is kept")
	}
	refused(8)
}

// TestDamagedStateIsNotUsed flips one byte.
func TestDamagedStateIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	k, _ := openKeeper(dir)
	if err := k.begin("t", 5); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, keptDir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(files[0]); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	if err := os.WriteFile(files[0], []byte(strings.Replace(string(b), `"highest":5`, `"highest":1`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs := openKeeper(dir); len(errs) != 1 {
		t.Errorf("a damaged file gives %v", errs)
	}
	c, err := openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	good := sum([]byte("good"))
	if err := c.put(good, []byte("evil")); err == nil {
		t.Error("content with another sum is kept")
	}
	if err := os.WriteFile(filepath.Join(dir, "content", good), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.get(good); err == nil {
		t.Error("damaged content is used")
	}
	if c.has(good) {
		t.Error("damaged content stays, and is never fetched again")
	}
}
