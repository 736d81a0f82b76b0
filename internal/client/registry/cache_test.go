package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestContentIsKeptOnDisk(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "cache")
	files := tgz(t, map[string]string{"a": "b"})
	digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, files))
	url := "oci://" + w.host() + "/acme/shop"
	fetch := func(s Source, url string) (string, int) {
		t.Helper()
		s.Password = "env:X"
		if s.Username == "" {
			s.Password = ""
		}
		c := client(t, Options{Sources: []Source{s}, Cache: dir, Secret: vault{"env:X": "p"}.get})
		b, err := c.Fetch(t.Context(), url, "", "", digest)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), len(w.requests())
	}
	if _, n := fetch(w.source("acme"), url); n == 0 {
		t.Fatal("no requests at first")
	}
	if b, n := fetch(w.source("acme"), url); n != 0 || b != string(files) {
		t.Errorf("another process made %d requests", n)
	}
	// Who has other credentials shows them to the registry first.
	s := w.source("acme")
	s.Username = "other"
	if _, n := fetch(s, url); n == 0 {
		t.Error("content fetched by one source was given to another")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.WriteFile(filepath.Join(dir, e.Name()), []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, n := fetch(w.source("acme"), url); n == 0 || b != string(files) {
		t.Errorf("broken files were taken, after %d requests", n)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, _ := fetch(w.source("acme"), url); b != string(files) {
		t.Error("a cache that can't be written to is in the way")
	}
}

func TestCachesStayWithinTheirBounds(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			b := []byte(strings.Repeat("x", 100) + fmt.Sprint(i))
			c.put("s", sumOf(b), b)
			if got, ok := c.get("s", sumOf(b), 1000); !ok || string(got) != string(b) {
				t.Errorf("%d is not there", i)
			}
		})
	}
	wg.Wait()
	old := []byte("old but used")
	c.put("s", sumOf(old), old)
	names, _ := os.ReadDir(c.dir)
	for i, n := range names {
		at := time.Now().Add(-time.Duration(i+1) * time.Hour)
		if err := os.Chtimes(filepath.Join(c.dir, n.Name()), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := c.get("s", sumOf(old), 1000); !ok {
		t.Fatal("it is not there")
	}
	left := filepath.Join(c.dir, ".new-left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(left, before, before); err != nil {
		t.Fatal(err)
	}
	c.sweep(250, 100)
	names, _ = os.ReadDir(c.dir)
	if _, ok := c.get("s", sumOf(old), 1000); !ok || len(names) != 3 {
		t.Errorf("%d files are left, the one in use: %v", len(names), ok)
	}
	m := &cache{}
	for i := range 5 {
		b := make([]byte, maxMemoryBytes/3)
		b[0] = byte(i)
		m.put("s", sumOf(b), b)
	}
	if m.bytes > maxMemoryBytes || len(m.mem) != 3 || len(m.order) != 3 {
		t.Errorf("%d bytes of %d", m.bytes, len(m.mem))
	}
}
