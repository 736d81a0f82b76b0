package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files")

// Every *.yaml below testdata/errors is a file with mistakes; the .golden
// beside it is all that is said about them.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("there are %d files: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			body := string(file(t, path))
			var diags plan.Diagnostics
			if strings.HasPrefix(filepath.Base(path), "server") {
				var s *config.Server
				if s, diags = config.ParseServer("server.yaml", []byte(body), ".", fakes(t)); s != nil {
					t.Error("a wrong configuration was accepted")
				}
			} else {
				_, diags = resolved(t, loaded(t), body)
			}
			got := diags.Error() + "\n"
			for _, canary := range []string{"hunter2", "s3cr3t"} {
				if strings.Contains(got, canary) {
					t.Errorf("a secret in the clear was printed: %s", got)
				}
			}
			for _, d := range diags {
				if d.File == "" || d.Line == 0 && !strings.Contains(body, "no-line") {
					t.Errorf("without file and line: %s", d.Error())
				}
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(file(t, golden)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
