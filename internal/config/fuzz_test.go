package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"trueup.dev/trueup/internal/config"
)

func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "testdata/server.yaml", "testdata/trueup.yaml") {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("<<: [{a: 1}, &x {<<: *x}]\n"))
	f.Add([]byte("? [a]\n: b\n? &k a\n: 1\n"))
	f.Add([]byte("version: !!binary 1\ntargets: !!set {}\n"))
}

// A configuration is given exactly when no error is, and nothing panics.
func FuzzParseServer(f *testing.F) {
	seeds(f)
	drivers := fakes(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		s, diags := config.ParseServer("server.yaml", body, ".", drivers)
		if (s == nil) != (diags.Err() != nil) {
			t.Fatalf("server %v with %v", s != nil, diags)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	seeds(f)
	s := loaded(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, diags := config.ParseManifest("sub/trueup.yaml", body)
		if (m == nil) != (diags.Err() != nil) {
			t.Fatalf("manifest %v with %v", m != nil, diags)
		}
		if m == nil {
			return
		}
		all, diags := config.Resolve(config.Context{Repository: "infra", Server: s, Drivers: fakes(t), Tree: apps, Branch: "main"}, "sub/trueup.yaml", m)
		for i := range all {
			if all[i].ID == "" || all[i].Path == "" || all[i].Environment == "" {
				t.Fatalf("an incomplete target %+v (%v)", all[i], diags)
			}
		}
		config.Check(all)
	})
}
