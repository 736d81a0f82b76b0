package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
)

// What changed below a target while its trueup.yaml was broken arrives once it
// is mended.
func TestChangesMadeWhileTheManifestWasBrokenArrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets: [{nmae: x}]\n", "web/a": "two\n"})
	w.eventually("the mistake is seen", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && len(r.Invalid) > 0
	})
	if w.file("a") != "one\n" {
		t.Fatal("a target with a broken declaration was changed")
	}
	c3 := w.push(map[string]string{"trueup.yaml": baseManifest})
	w.synced("infra/site", c3)
	if w.file("a") != "two\n" {
		t.Fatal("a change was lost")
	}
}

// A commit runs only the targets whose paths it touches.
func TestCommitTouchesOnlyItsTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: 'app-{dir}', each: 'apps/*', environment: site, path: '{each}', scope: {files: ['{dir}/**']}}\n",
		"apps/a/a/x": "a\n", "apps/b/b/x": "b\n"})
	w.start()
	w.synced("infra/app-a", c1)
	w.synced("infra/app-b", c1)
	runs := func(id string) int {
		rs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: id})
		if err != nil {
			t.Fatal(err)
		}
		return len(rs)
	}
	before := runs("infra/app-b")
	c2 := w.push(map[string]string{"apps/a/a/x": "a2\n", "apps/c/c/x": "c\n"})
	w.synced("infra/app-a", c2)
	w.synced("infra/app-c", c2) // a new directory is a new target
	time.Sleep(500 * time.Millisecond)
	if runs("infra/app-b") != before || w.target("infra/app-b").Desired.Commit != c1 {
		t.Fatal("a commit ran a target that it did not touch")
	}
	w.push(map[string]string{"apps/c/c/x": ""})
	w.eventually("a directory that went is an orphan", func() bool { return w.target("infra/app-c").State == store.Orphaned })
	if w.file("c/x") != "c\n" {
		t.Fatal("an orphan lost its files")
	}
}

// Rewritten history is refused, also when the mirror that knew the old one is
// gone; a policy may say otherwise.
func TestForcePushIsRefusedAfterALostMirror(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "one\n"})
	c2 := w.push(map[string]string{"web/a": "two\n"})
	w.start()
	w.synced("infra/site", c2)
	w.stop()
	if err := os.RemoveAll(filepath.Join(w.dir, "data", "mirrors")); err != nil {
		t.Fatal(err)
	}
	w.run(w.git, "git", "reset", "-q", "--hard", "HEAD~1")
	w.run(w.git, "git", "push", "-qf", "origin", "HEAD:main")
	w.start()
	w.eventually("the rewind is refused", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && strings.Contains(r.Error, "rewritten")
	})
	if w.file("a") != "two\n" {
		t.Fatal("a rewound branch was followed")
	}
	w.stop()
	w.config = strings.Replace(w.config, "poll: 1s", "poll: 1s, rewind: follow", 1)
	w.start()
	w.eventually("followed where the policy says so", func() bool { return w.file("a") == "one\n" })
}
