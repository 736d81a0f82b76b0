// Package handovertest has what the tests of imports share: reading fixtures,
// golden files, and trueup's own opinion of what was written.
package handovertest

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Read reads fixtures as the command does.
func Read(t testing.TB, keep func(*handover.Object) bool, files ...string) *handover.Set {
	t.Helper()
	var all []*handover.Object
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range Parse(t, filepath.ToSlash(f), body) {
			if keep(o) {
				all = append(all, o)
			}
		}
	}
	return handover.NewSet(all)
}

// Parse reads the objects of a text.
func Parse(t testing.TB, file string, body []byte) []*handover.Object {
	t.Helper()
	objects, diags := manifest.Parse(file, body)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var out []*handover.Object
	for _, o := range objects {
		out = append(out, handover.NewObject(o.Unstructured, o.Source))
	}
	return out
}

// Golden compares an import with the files below a directory: what is written,
// what is told, and the steps.
func Golden(t *testing.T, dir string, r *handover.Result, steps []handover.Step) {
	t.Helper()
	got, err := r.Output()
	if err != nil {
		t.Fatal(err)
	}
	var notes bytes.Buffer
	for _, n := range r.Notes {
		fmt.Fprintf(&notes, "%s: %s %s\n  %s\n  -> %s\n", n.Kind, n.Object, n.Field, n.Why, n.Do)
	}
	got["notes.txt"] = notes.Bytes()
	var text bytes.Buffer
	if err := handover.Print(&text, steps); err != nil {
		t.Fatal(err)
	}
	got["steps.txt"] = text.Bytes()
	if *update {
		write(t, dir, got)
	}
	want := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		want[filepath.Join(dir, name)] = true
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(b, got[name]) {
			t.Errorf("%s is not as it should be (-update writes it):\n%s", filepath.Join(dir, name), got[name])
		}
	}
	err = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !want[p] {
			t.Errorf("%s is not written any more", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// NoSecret fails where a text that must not show does.
func NoSecret(t *testing.T, r *handover.Result, steps []handover.Step, canaries ...string) {
	t.Helper()
	files, err := r.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(r.Notes, steps)
	for _, b := range files {
		all += string(b)
	}
	for _, c := range canaries {
		if strings.Contains(all, c) {
			t.Errorf("the secret %q shows", c)
		}
	}
}

// Valid lets trueup itself look at what was written: the operator's side, and
// each repository's targets with the files that go with them, over those of a
// checkout.
func Valid(t *testing.T, r *handover.Result, drivers driver.Registry, trees map[string]fstest.MapFS) {
	t.Helper()
	body, err := r.ServerYAML()
	if err != nil {
		t.Fatal(err)
	}
	server, diags := config.ParseServer("server.yaml", body, t.TempDir(), drivers)
	if err := diags.Err(); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	var all []config.Resolved
	for _, p := range r.Repositories {
		tree := fstest.MapFS{}
		maps.Copy(tree, trees[p.Name])
		for name, text := range p.Files {
			tree[name] = &fstest.MapFile{Data: []byte(text)}
		}
		manifest, err := p.ManifestYAML()
		if err != nil {
			t.Fatal(err)
		}
		m, diags := config.ParseManifest("trueup.yaml", manifest)
		if err := diags.Err(); err != nil {
			t.Fatalf("%v\n%s", err, manifest)
		}
		resolved, diags := config.Resolve(config.Context{Repository: p.Name, Server: server, Drivers: drivers, Tree: tree}, "trueup.yaml", m)
		if err := diags.Err(); err != nil {
			t.Fatalf("%v\n%s", err, manifest)
		}
		all = append(all, resolved...)
	}
	if err := config.Check(all).Err(); err != nil {
		t.Fatal(err)
	}
}
