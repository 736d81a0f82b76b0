package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/agent/agenttest"
	"trueup.dev/trueup/internal/store"
)

// kept gives all that is kept, as text.
func (b *box) kept() string {
	var out strings.Builder
	for _, name := range glob(b.r.T, b.state, "kept/*.json") {
		body, err := os.ReadFile(name)
		if err == nil {
			out.Write(body)
		}
	}
	return out.String()
}

// startFresh starts a second process of the same agent that writes freely.
func (b *box) startFresh() {
	b.driver = &agenttest.Boxes{Root: b.root}
	b.start()
}

func (r *rig) putTarget() error {
	return r.store.PutTargets(r.Context(), store.RepositoryState{Name: "repo", Head: "c"}, []store.Target{{ID: "t", Repository: "repo", Name: "t",
		Environment: "boxes", Config: []byte("{}"), State: store.Active}}, nil, nil)
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "identity.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
