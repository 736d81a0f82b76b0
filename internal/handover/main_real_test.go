//go:build real

// Package handover_test moves production from the hands of Flux and Argo CD
// into trueup's, on a real API server: by the steps that the import prints,
// carried out as they stand.
package handover_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"trueup.dev/trueup/internal/cli"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/servertest/built"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

var cluster *kubetest.Cluster

// TestMain starts one cluster and puts a program trueup into the path.
func TestMain(m *testing.M) { testscript.Main(scene{m}, map[string]func(){"trueup": trueup}) }

func trueup() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

type scene struct{ m *testing.M }

// Run runs the tests with a cluster.
func (s scene) Run() int {
	dir, err := os.MkdirTemp("", "handover")
	if err == nil {
		cluster, err = kubetest.StartIn(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer cluster.Stop()
	return s.m.Run()
}

// stage is what a test works with: files of its own, and the cluster.
type stage struct {
	*testing.T
	dir string
}

func newStage(t *testing.T, crds ...string) *stage {
	t.Helper()
	lines, err := built.Script("gitops-crds.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range crds {
		files, err := filepath.Glob(filepath.Join(lines[0], c))
		if err != nil || len(files) == 0 {
			t.Fatalf("no definitions %s in %s: %v", c, lines[0], err)
		}
		for _, f := range files {
			cluster.Kubectl(t, "apply", "--server-side", "-f", f)
		}
	}
	s := &stage{T: t, dir: t.TempDir()}
	for _, c := range crds { // kubectl fails on one that has no conditions yet
		s.must(lines[0], "for f in "+c+"; do for i in 1 2 3 4 5 6 7 8 9; do kubectl wait --for=condition=Established -f $f --timeout=60s && continue 2; sleep 1; done; exit 1; done")
	}
	return s
}

// write writes files below the stage's directory.
func (s *stage) write(files map[string]string) {
	s.Helper()
	for name, text := range files {
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.Fatal(err)
		}
	}
}

// sh runs a line as a person would type it.
func (s *stage) sh(dir, line string) (string, error) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig, "HOME="+s.dir, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
		"TRUEUP_DATA_DIR="+filepath.Join(s.dir, "data"), "NO_COLOR=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", line, err, out, stderr.String())
	}
	return string(out), err
}

// must is a line that has to succeed.
func (s *stage) must(dir, line string) string {
	s.Helper()
	out, err := s.sh(dir, line)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// repository makes a checkout of what lies in a directory, with a remote.
func (s *stage) repository(name string) string {
	s.Helper()
	dir := filepath.Join(s.dir, name)
	s.must(s.dir, "git init -q --bare -b main "+name+".git")
	s.must(dir, "git init -q -b main && git remote add origin https://git.example.com/acme/"+name+".git && git add -A && git commit -qm first")
	return dir
}

// imported is what an import prints as JSON.
type imported struct {
	Files []string        `json:"files"`
	Notes []handover.Note `json:"notes"`
	Steps []handover.Step `json:"steps"`
}

func (s *stage) importing(line string) imported {
	s.Helper()
	var out imported
	if err := json.Unmarshal([]byte(s.must(s.dir, line+" -o json")), &out); err != nil {
		s.Fatal(err)
	}
	return out
}

// carryOut does the steps as they are printed, up to and with one of that
// title, and gives the rest. Where a step is a person's, person does it.
func (s *stage) carryOut(steps []handover.Step, until string, person map[string]func()) []handover.Step {
	s.Helper()
	for i, step := range steps {
		s.Logf("step %s", step.Title)
		if f := person[step.Title]; f != nil {
			f()
		}
		dir := s.dir
		if step.In != "" {
			dir = step.In
		}
		for _, c := range step.Commands {
			out := s.must(dir, c)
			s.Logf("$ %s\n%s", c, out)
		}
		if step.Title == until {
			return steps[i+1:]
		}
	}
	if until != "" {
		s.Fatalf("there is no step %q", until)
	}
	return nil
}

// things are objects of production: what they are called, and what they have.
type things map[string]thing

type thing struct {
	UID      string
	Managers []string
	Labels   map[string]string

	Annotations map[string]string
}

// look reads objects by kubectl.
func (s *stage) look(objects ...string) things {
	s.Helper()
	out := things{}
	for _, o := range objects {
		ns, name, _ := strings.Cut(o, ":")
		got, err := cluster.Run("-n", ns, "get", name, "-o", "json", "--show-managed-fields")
		if err != nil {
			s.Fatalf("%s is gone: %v", o, err)
		}
		var u struct {
			Metadata struct {
				UID           string
				Labels        map[string]string
				Annotations   map[string]string
				ManagedFields []struct {
					Manager, Subresource string
					FieldsV1             map[string]any
				}
			}
		}
		if err := json.Unmarshal([]byte(got), &u); err != nil {
			s.Fatal(err)
		}
		t := thing{UID: u.Metadata.UID, Labels: u.Metadata.Labels, Annotations: u.Metadata.Annotations}
		for _, m := range u.Metadata.ManagedFields {
			if m.Subresource == "" && ownsField(m.FieldsV1) {
				t.Managers = append(t.Managers, m.Manager)
			}
		}
		out[o] = t
	}
	return out
}

// ownsField tells whether a manager owns a field: not only that there is a
// mapping (".") which others fill.
func ownsField(fields map[string]any) bool {
	for k, v := range fields {
		below, _ := v.(map[string]any)
		if k != "." && (len(below) == 0 || ownsField(below)) {
			return true
		}
	}
	return false
}

// same fails unless the objects are the ones that they were.
func (s *stage) same(before, after things) {
	s.Helper()
	for _, o := range slices.Sorted(maps.Keys(before)) {
		if before[o].UID != after[o].UID {
			s.Errorf("%s is another object now: %s, not %s", o, after[o].UID, before[o].UID)
		}
	}
}

// actions counts what a plan would do.
func (s *stage) actions(dir, line string) map[string]int {
	s.Helper()
	out, err := s.sh(dir, line+" -o json")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	var plans any
	if err := json.Unmarshal([]byte(out), &plans); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	count := map[string]int{}
	countActions(plans, count)
	return count
}

func countActions(v any, count map[string]int) {
	switch v := v.(type) {
	case map[string]any:
		if a, ok := v["action"].(string); ok && v["address"] != nil {
			count[a]++
		}
		for _, e := range v {
			countActions(e, count)
		}
	case []any:
		for _, e := range v {
			countActions(e, count)
		}
	}
}
