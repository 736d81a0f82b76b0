package files_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

type nullReport struct{ t *testing.T }

func (nullReport) Pending(context.Context, []plan.Key) error { return nil }
func (r nullReport) Done(_ context.Context, rs []plan.Result) error {
	for _, x := range rs {
		r.t.Log(x.Key, x.Action, x.Outcome, x.Error)
	}
	return nil
}
func (nullReport) Logf(string, ...any) {}

func TestSmoke(t *testing.T) {
	root := t.TempDir()
	d := files.New()
	s, err := d.Open(t.Context(), driver.Environment{Name: "e", Connect: &files.Connect{Root: root}}, driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := driver.Input{Target: "t", Path: "d", Mode: plan.Apply, Now: time.Now(), Tree: fstest.MapFS{
		"d/a/b.txt": {Data: []byte("hello\n"), Mode: 0o644},
		"d/run.sh":  {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"d/link":    {Data: []byte("run.sh"), Mode: os.ModeSymlink | 0o777},
	}}
	p, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.MarshalIndent(p, "", " ")
	t.Log(string(b))
	if err := s.Apply(t.Context(), in, p, nullReport{t}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "a/b.txt"))
	if err != nil || string(got) != "hello\n" {
		t.Fatal(string(got), err)
	}
	if l, err := os.Readlink(filepath.Join(root, "link")); l != "run.sh" {
		t.Fatal(l, err)
	}
}
