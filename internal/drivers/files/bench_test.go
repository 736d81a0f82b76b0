package files_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

// BenchmarkPlanUnchanged plans 10,000 files of 1 kB with nothing to change,
// exactly and by fingerprint.
func BenchmarkPlanUnchanged(b *testing.B) {
	root := b.TempDir()
	src := b.TempDir()
	in := driver.Input{Target: "t", Path: ".", Tree: os.DirFS(src), Mode: plan.Apply}
	for i := range 10_000 {
		name := filepath.Join(src, fmt.Sprintf("d%d", i%100), fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, 1024), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.CopyFS(root, os.DirFS(src)); err != nil {
		b.Fatal(err)
	}
	s, err := files.New().Open(b.Context(), driver.Environment{Connect: &files.Connect{Root: root}}, driver.Write)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p, err := s.Plan(b.Context(), in)
	if err != nil {
		b.Fatal(err)
	}
	j := drivertest.NewJournal(nil, p)
	if err := s.Apply(b.Context(), in, p, j); err != nil {
		b.Fatal(err)
	}
	in.Inventory = j.Inventory()
	b.Run("exact", func(b *testing.B) {
		for b.Loop() {
			if p, err := s.Plan(b.Context(), in); err != nil || !p.Empty() {
				b.Fatalf("%v, %d changes", err, len(p.Changes))
			}
		}
	})
	b.Run("fingerprint", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.(driver.Fingerprinter).Fingerprint(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
