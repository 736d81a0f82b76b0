package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

const writeBackManifest = `version: 1
targets:
  - name: site   # one target
    environment: test
    path: web
    spec:
      modes:
        run.sh: "0755"   # how it may be run
    writeBack:
      - { address: run.sh, field: /mode, file: ../trueup.yaml, path: '$.targets[name=site].spec.modes["run.sh"]', via: VIA }
`

// newWriteBack is a world with a file whose mode the environment may change.
func newWriteBack(t *testing.T, repository, policy, via string) (*world, string) {
	t.Helper()
	w := newStages(t, repository, policy, "")
	c := w.push(map[string]string{"trueup.yaml": strings.ReplaceAll(writeBackManifest, "VIA", via), "web/run.sh": "#!/bin/sh\n", "web/other": "other\n"})
	w.synced("infra/site", c)
	return w, c
}

func (w *world) chmod(mode os.FileMode) {
	w.t.Helper()
	if err := os.Chmod(filepath.Join(w.dir, "site/test/run.sh"), mode); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) mode() os.FileMode {
	w.t.Helper()
	st, err := os.Stat(filepath.Join(w.dir, "site/test/run.sh"))
	if err != nil {
		w.t.Fatal(err)
	}
	return st.Mode().Perm()
}

func (w *world) written(what string, check func(x store.Edit) bool) store.Edit {
	w.t.Helper()
	var x store.Edit
	w.eventually(what, func() bool {
		_ = w.st.Trigger(context.Background(), store.Trigger{Kind: store.Propose, Key: "infra", Slot: "propose:infra", Class: store.ByPerson, Cause: "test", Actor: "user:t"})
		var err error
		x, err = w.st.Edit(context.Background(), store.WrittenBack, "infra/site")
		return err == nil && check(x)
	})
	return x
}

// looked waits until drift was looked for twice more.
func (w *world) looked() {
	w.t.Helper()
	due := func() time.Time {
		x, err := w.st.Work(context.Background(), store.Reconcile, "infra/site")
		if err != nil {
			return time.Time{}
		}
		return x.DueAt
	}
	for range 2 {
		before := due()
		w.eventually("another look for drift", func() bool { return due().After(before) })
	}
}

func TestWriteBackProposes(t *testing.T) {
	w, _ := newWriteBack(t, onForge, "", "pullRequest")
	w.chmod(0o700)
	proposed := func(x store.Edit) bool { return x.State == store.EditProposed }
	first := w.written("a proposal", proposed)
	if got := w.origin("show", first.Branch+":trueup.yaml"); got != strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(writeBackManifest, "VIA", "pullRequest"), `"0755"`, `"0700"`)) {
		t.Errorf("%s", got)
	}
	if got := w.origin("log", "-1", "--format=%B", first.Branch); !strings.Contains(got, "Trueup-Write-Back: infra/site") || !strings.Contains(got, "Trueup-Run: "+first.Run) {
		t.Error(got)
	}
	w.looked()
	if w.mode() != 0o700 || w.target("infra/site").Status.Phase != store.Synced {
		t.Fatalf("the environment's own change was corrected to %v", w.mode())
	}
	// Another value: the same pull request.
	w.chmod(0o711)
	second := w.written("another value", func(x store.Edit) bool { return proposed(x) && x.Digest != first.Digest })
	if second.Number != first.Number || second.Commit == first.Commit || second.Branch != first.Branch {
		t.Errorf("%+v, then %+v", first, second)
	}
	// What is not declared is corrected as ever.
	if err := os.WriteFile(filepath.Join(w.dir, "site/test/other"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.eventually("other drift is corrected", func() bool { return w.file("test/other") == "other\n" })
	if w.mode() != 0o711 {
		t.Errorf("the declared field was corrected along: %v", w.mode())
	}
	commit := w.mergeBranch(second.Branch)
	w.forge.Merge(second.Number, commit, "ada")
	w.synced("infra/site", commit)
	w.eventually("the record is gone", func() bool {
		_, err := w.st.Edit(context.Background(), store.WrittenBack, "infra/site")
		_, err2 := w.st.Edit(context.Background(), store.LiveValues, "infra/site")
		return err != nil && err2 != nil
	})
	if w.mode() != 0o711 {
		t.Errorf("after the merge: %v", w.mode())
	}
	if runs, _, err := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/site", State: store.RunSucceeded}); err != nil || len(runs) == 0 || runs[0].Commit == commit && runs[0].Summary[plan.Update]+runs[0].Summary[plan.Create]+runs[0].Summary[plan.Delete] > 0 {
		t.Errorf("what trueup wrote itself led to a run that changed something: %+v, %v", runs, err)
	}
}

func TestWriteBackRefusedStaysRefused(t *testing.T) {
	w, _ := newWriteBack(t, onForge, "", "pullRequest")
	w.chmod(0o700)
	first := w.written("a proposal", func(x store.Edit) bool { return x.State == store.EditProposed })
	w.forge.Close(first.Number)
	w.written("the refusal", func(x store.Edit) bool { return x.State == store.EditRefused })
	calls := w.forge.Calls("Propose")
	w.looked()
	w.written("still refused", func(x store.Edit) bool { return x.State == store.EditRefused })
	// The value comes back to Git's, and then is the refused one again.
	w.chmod(0o755)
	w.eventually("no live value", func() bool {
		_, err := w.st.Edit(context.Background(), store.LiveValues, "infra/site")
		return err != nil
	})
	w.chmod(0o700)
	w.eventually("the live value", func() bool {
		_, err := w.st.Edit(context.Background(), store.LiveValues, "infra/site")
		return err == nil
	})
	w.looked()
	w.written("refused for good", func(x store.Edit) bool { return x.State == store.EditRefused })
	if n := w.forge.Calls("Propose"); n != calls {
		t.Errorf("%d proposals after the refusal", n-calls)
	}
	w.chmod(0o750)
	if next := w.written("another value", func(x store.Edit) bool { return x.State == store.EditProposed }); next.Number == first.Number {
		t.Errorf("%+v", next)
	}
}

func TestWriteBackGoesWithItsValue(t *testing.T) {
	w, _ := newWriteBack(t, onForge, "", "pullRequest")
	w.chmod(0o700)
	first := w.written("a proposal", func(x store.Edit) bool { return x.State == store.EditProposed })
	w.chmod(0o755)
	w.eventually("the proposal is taken back", func() bool {
		_, err := w.st.Edit(context.Background(), store.WrittenBack, "infra/site")
		return err != nil
	})
	if w.origin("branch", "--list", first.Branch) != "" || len(w.forge.Own(first.Number)) != 1 {
		t.Errorf("branch or comment: %v", w.forge.Own(first.Number))
	}
}

func TestWriteBackCommits(t *testing.T) {
	w, _ := newWriteBack(t, onForge, "writeBack: commit", "commit")
	w.chmod(0o700)
	x := w.written("a commit", func(x store.Edit) bool { return x.State == store.EditCommitted })
	if x.Branch != "main" || w.origin("rev-parse", "main") != x.Commit {
		t.Errorf("%+v", x)
	}
	w.synced("infra/site", x.Commit)
	w.eventually("the record is gone", func() bool {
		_, err := w.st.Edit(context.Background(), store.WrittenBack, "infra/site")
		return err != nil
	})
	w.looked()
	if w.origin("rev-parse", "main") != x.Commit || w.mode() != 0o700 || w.forge.Calls("Propose") != 0 {
		t.Errorf("it went on: %s, %v", w.origin("log", "--oneline", "-5", "main"), w.mode())
	}
	// Changed back in Git: that is a decision, and is applied, not fought.
	w.run(w.git, "git", "pull", "-q", "origin", "main")
	commit := w.push(map[string]string{"trueup.yaml": strings.ReplaceAll(writeBackManifest, "VIA", "commit")})
	w.synced("infra/site", commit)
	if w.mode() != 0o755 || w.origin("rev-parse", "main") != commit {
		t.Errorf("%v", w.mode())
	}
}

// TestWriteBackCommitsOntoWhatMoved: somebody pushes between reading and
// pushing; the commit is made anew on theirs, and nothing of theirs is lost.
func TestWriteBackCommitsOntoWhatMoved(t *testing.T) {
	w, base := newWriteBack(t, onForge, "writeBack: commit", "commit")
	w.run(w.git, "git", "checkout", "-q", "-b", "side", base)
	w.put(map[string]string{"web/theirs": "theirs\n"})
	w.run(w.git, "git", "add", "-A")
	w.run(w.git, "git", "commit", "-q", "-m", "theirs")
	theirs := w.run(w.git, "git", "rev-parse", "HEAD")
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:side")
	w.run(w.git, "git", "checkout", "-q", "main")
	// The server moves main by itself while it takes the first push.
	hook := "#!/bin/sh\n[ -e moved ] && exit 0\ntouch moved\nenv -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES git update-ref refs/heads/main " + theirs + "\n"
	if err := os.MkdirAll(filepath.Join(w.dir, "origin.git/hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "origin.git/hooks/pre-receive"), []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	w.chmod(0o700)
	x := w.written("a commit", func(x store.Edit) bool { return x.State == store.EditCommitted })
	if _, err := os.Stat(filepath.Join(w.dir, "origin.git/moved")); err != nil {
		t.Fatal("main never moved")
	}
	if got := w.origin("rev-parse", x.Commit+"^"); got != theirs {
		t.Errorf("made on %s, not on %s", got, theirs)
	}
	if got := w.origin("show", "main:web/theirs"); got != "theirs" {
		t.Errorf("%q", got)
	}
}
