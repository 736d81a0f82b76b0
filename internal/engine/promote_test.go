package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
)

const stagesConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra:
    url: %[1]s/origin.git
    branch: main
    poll: 1s
    commitAs: Release Bot <release@example.test>
    %[2]s
policies:
  quick: {driftInterval: 1s, %[3]s}
environments:
  test: {driver: files, policy: quick, connect: {root: %[1]s/site/test}, allow: [{repository: infra}]}
  prod: {driver: files, policy: quick, connect: {root: %[1]s/site/prod}, allow: [{repository: infra}]}
`

const onForge = `forge: {gitea: {token: "env:FORGE_TOKEN", url: "http://forge.test", project: acme/infra}}`

const stages = `version: 1
targets:
  - {name: shop-test, environment: test, path: test}
  - name: shop-prod
    environment: prod
    path: prod
    promote: { from: shop-test, %s fields: [{file: values.yaml, path: $.image.tag}, {name: db, file: db.env, regexp: 'VERSION=(\S+)'}] }
`

func shopValues(tag string) string {
	return "# the shop\nimage:\n  repo: shop   # never changes\n  tag: " + tag + "   # the tag\nreplicas: 2\n"
}

// newStages is a world with two environments, test and prod.
func newStages(t *testing.T, repository, policy, promote string) *world {
	t.Helper()
	t.Setenv("FORGE_TOKEN", "canary-forge-token")
	w := newWorld(t)
	for _, d := range []string{"site/test", "site/prod"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.forge = forgetest.New("acme/infra")
	w.config = fmt.Sprintf(stagesConfig, w.dir, repository, policy)
	c := w.push(map[string]string{"trueup.yaml": fmt.Sprintf(stages, promote), "test/values.yaml": shopValues("v1"), "test/db.env": "VERSION=16.1\n",
		"prod/values.yaml": shopValues("v1"), "prod/db.env": "# prod\nVERSION=16.1\n"})
	w.start()
	w.synced("infra/shop-test", c)
	w.synced("infra/shop-prod", c)
	return w
}

// release puts a new version into test, and waits until it is healthy there.
func (w *world) release(tag string) string {
	w.t.Helper()
	c := w.push(map[string]string{"test/values.yaml": shopValues(tag)})
	w.synced("infra/shop-test", c)
	return c
}

func (w *world) promote(o edit.Promotion) edit.Written {
	w.t.Helper()
	out, err := w.e.Promote(context.Background(), "user:ada", o)
	if err != nil || len(out) != 1 {
		w.t.Fatalf("promote: %+v, %v", out, err)
	}
	return out[0]
}

var testToProd = edit.Promotion{From: "test", To: "prod", Reason: "release 4711"}

func (w *world) origin(args ...string) string {
	w.t.Helper()
	return w.run(w.dir, "git", append([]string{"--git-dir=origin.git"}, args...)...)
}

// merged merges a branch of the origin, as a forge does.
func (w *world) mergeBranch(branch string) string {
	w.t.Helper()
	w.run(w.git, "git", "fetch", "-q", "origin")
	w.run(w.git, "git", "checkout", "-q", "main")
	w.run(w.git, "git", "reset", "-q", "--hard", "origin/main")
	w.run(w.git, "git", "merge", "-q", "--no-ff", "-m", "Merge "+branch, "origin/"+branch)
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:main")
	return w.run(w.git, "git", "rev-parse", "HEAD")
}

func TestPromote(t *testing.T) {
	w := newStages(t, onForge, "", "")
	good := w.release("v2")
	dry := testToProd
	dry.DryRun = true
	if d := w.promote(dry); !d.DryRun || !strings.Contains(d.Diff, "-  tag: v1   # the tag\n+  tag: v2   # the tag") || len(d.Changes) != 1 {
		t.Fatalf("%+v", d)
	}
	if refs := w.origin("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Fatalf("a dry run pushed: %s", refs)
	}
	all, err := w.e.Promotions(context.Background(), "test", "")
	if err != nil || len(all) != 1 || all[0].Commit != good || !all[0].Fields[0].Differs || all[0].Fields[1].Differs {
		t.Fatalf("%+v, %v", all, err)
	}
	d := w.promote(testToProd)
	p, err := w.forge.PullRequest(t.Context(), d.Number)
	if err != nil || p.State != "open" || p.Base != "main" || p.Head != "trueup/promote/test/prod/all" || d.URL == "" {
		t.Fatalf("%+v %+v, %v", d, p, err)
	}
	if got, want := w.origin("show", d.Branch+":prod/values.yaml"), strings.TrimSpace(shopValues("v2")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := w.origin("log", "-1", "--format=%an <%ae>%n%B", d.Branch); !strings.HasPrefix(got, "Release Bot <release@example.test>\nPromote shop-prod from test to prod") ||
		!strings.Contains(got, "Trueup-Requested-By: user:ada") || !strings.Contains(got, "Trueup-Promote: test to prod") {
		t.Error(got)
	}
	// Who asked for it counts as an author, though the forge names ours.
	w.eventually("who asked is remembered", func() bool {
		rec, err := w.st.Pull(context.Background(), "infra", d.Number)
		return err == nil && strings.Contains(string(rec.Doc), `"requested":["user:ada"]`)
	})
	if again := w.promote(testToProd); again.Number != d.Number || again.Commit != d.Commit {
		t.Errorf("the same again: %+v", again)
	}
	w.release("v3")
	third := w.promote(testToProd)
	if third.Number != d.Number || third.Commit == d.Commit || w.forge.Calls("Propose") != 3 {
		t.Errorf("a newer version: %+v", third)
	}
	if n := w.origin("rev-list", "--count", "main.."+d.Branch); n != "1" {
		t.Errorf("the branch has %s commits", n)
	}
	if text := w.forge.Written() + w.origin("log", "--format=%B", d.Branch); strings.Contains(text, "canary") {
		t.Error("the token stands in what was written")
	}
	commit := w.mergeBranch(d.Branch)
	w.synced("infra/shop-prod", commit)
	if got := w.file("prod/values.yaml"); got != shopValues("v3") {
		t.Errorf("live: %s", got)
	}
	if same := w.promote(testToProd); len(same.Changes) != 0 || len(same.Notes) == 0 {
		t.Errorf("nothing is left: %+v", same)
	}
}

func TestPromoteTakesWhatIsHealthy(t *testing.T) {
	w := newStages(t, onForge, "", "")
	good := w.release("v2")
	// A newer commit that never becomes healthy.
	w.run(w.git, "ln", "-s", "/etc/passwd", filepath.Join(w.git, "test", "link"))
	w.push(map[string]string{"test/values.yaml": shopValues("v9")})
	w.eventually("test fails", func() bool { return w.target("infra/shop-test").Status.Phase == store.Failing })
	d := w.promote(testToProd)
	if len(d.Changes) != 1 || d.Changes[0].To.Text != "v2" || len(d.Notes) == 0 || !strings.Contains(d.Notes[0], good[:8]) {
		t.Errorf("%+v", d)
	}
	if _, err := w.e.Promote(context.Background(), "user:ada", edit.Promotion{From: "prod", To: "test"}); err == nil {
		t.Error("there is no promotion from prod to test")
	}
	if _, err := w.e.Promote(context.Background(), "user:ada", edit.Promotion{From: "test", To: "prod", Only: []string{"other"}}); err == nil {
		t.Error("no target has that name")
	}
	only := testToProd
	only.Only = []string{"shop-*"}
	if d := w.promote(only); d.Branch == "trueup/promote/test/prod/all" || len(d.Changes) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestPromoteWithoutForge(t *testing.T) {
	w := newStages(t, "", "", "")
	w.release("v2")
	d := w.promote(testToProd)
	if d.Number != 0 || w.origin("rev-parse", d.Branch) != d.Commit || !strings.Contains(strings.Join(d.Notes, " "), "open a pull request for it yourself") {
		t.Errorf("%+v", d)
	}
}

// TestPromoteSparesOthers: a branch that somebody else has pushed to is left
// alone.
func TestPromoteSparesOthers(t *testing.T) {
	w := newStages(t, onForge, "", "")
	w.release("v2")
	d := w.promote(testToProd)
	w.run(w.git, "git", "fetch", "-q", "origin")
	w.run(w.git, "git", "checkout", "-q", "-b", "mine", "origin/"+d.Branch)
	w.run(w.git, "git", "commit", "-q", "--allow-empty", "-m", "mine")
	w.run(w.git, "git", "push", "-q", "origin", "HEAD:"+d.Branch)
	theirs := w.origin("rev-parse", d.Branch)
	w.run(w.git, "git", "checkout", "-q", "main")
	w.release("v3")
	if _, err := w.e.Promote(context.Background(), "user:ada", testToProd); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("%v", err)
	}
	if now := w.origin("rev-parse", d.Branch); now != theirs {
		t.Error("somebody's commit was overwritten")
	}
}

func TestPromoteByItself(t *testing.T) {
	w := newStages(t, onForge, "", "after: 1s,")
	open := func(tag string) forge.PullRequest {
		w.t.Helper()
		var p forge.PullRequest
		w.eventually("a pull request for "+tag, func() bool {
			list, err := w.forge.Open(context.Background())
			for _, x := range list {
				if err == nil && w.origin("show", x.Head+":prod/values.yaml") == strings.TrimSpace(shopValues(tag)) {
					p = x
					return true
				}
			}
			return false
		})
		return p
	}
	if n := w.forge.Calls("Propose"); n != 0 {
		t.Fatalf("%d proposals of equal versions", n)
	}
	w.release("v2")
	first := open("v2")
	w.forge.Close(first.Number)
	w.eventually("the refusal is seen", func() bool {
		_ = w.st.Trigger(context.Background(), store.Trigger{Kind: store.Propose, Key: "infra", Slot: "propose:infra", Class: store.ByPerson, Cause: "test", Actor: "user:t"})
		x, err := w.st.Edit(context.Background(), store.AutoPromotion, "infra/shop-prod")
		return err == nil && x.State == store.EditRefused
	})
	calls := w.forge.Calls("Propose")
	c := w.push(map[string]string{"test/other": "a change that is no version\n"})
	w.synced("infra/shop-test", c)
	w.eventually("the work is idle", func() bool {
		_, err := w.st.Work(context.Background(), store.Propose, "infra")
		return err != nil
	})
	if n := w.forge.Calls("Propose"); n != calls {
		t.Fatalf("the same versions were proposed again after they were refused")
	}
	w.release("v3")
	third := open("v3")
	if third.Number == first.Number {
		t.Errorf("%+v", third)
	}
	commit := w.mergeBranch(third.Head)
	w.forge.Merge(third.Number, commit, "ada")
	w.synced("infra/shop-prod", commit)
	w.eventually("the record is gone", func() bool {
		_, err := w.st.Edit(context.Background(), store.AutoPromotion, "infra/shop-prod")
		return err != nil
	})
}
