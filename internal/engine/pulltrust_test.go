package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// codeDriver is the files driver under the claim that it runs code of the
// repository. It counts what it was asked for.
type codeDriver struct {
	driver.Driver
	prepared chan string
	opened   chan driver.Purpose
	wait     atomic.Pointer[chan struct{}]
}

func (d *codeDriver) Info() driver.Info {
	i := d.Driver.Info()
	i.RunsRepositoryCode = true
	return i
}

func (d *codeDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	select {
	case d.prepared <- in.Target:
	default:
	}
	if wait := d.wait.Load(); wait != nil {
		select {
		case <-*wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return d.Driver.Prepare(ctx, in)
}

func (d *codeDriver) Open(ctx context.Context, env driver.Environment, p driver.Purpose) (driver.Session, error) {
	select {
	case d.opened <- p:
	default:
	}
	return d.Driver.Open(ctx, env, p)
}

func newCodeDriver() *codeDriver {
	return &codeDriver{Driver: files.New(), prepared: make(chan string, 100), opened: make(chan driver.Purpose, 100)}
}

func drain[T any](c chan T) (out []T) {
	for {
		select {
		case x := <-c:
			out = append(out, x)
		default:
			return out
		}
	}
}

// Code of a repository runs when its author is trusted, or somebody trusted
// has looked at this very head.
func TestRepositoryCodeWaitsForSomebodyTrusted(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {forks: true, trusted: [\"user:alice\"]}", "")
	d := newCodeDriver()
	w.files = d
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	drain(d.prepared)
	drain(d.opened)
	asFork := func() {
		p, err := w.forge.PullRequest(context.Background(), 4)
		if err != nil {
			t.Fatal(err)
		}
		p.Fork, p.HeadProject = true, "mallory/infra"
		w.forge.Put(p)
	}
	head := w.propose(4, "mallory", map[string]string{"web/new": "x\n"})
	asFork()
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusFailure), "not planned", "runs code of the repository")
	w.answered(4, w.say(4, "dev", "trueup plan"), forge.Done) // may give commands, is not trusted with code
	w.eventually("quiet", func() bool { return w.quiet(4) })
	if p := drain(d.opened); len(p) > 0 {
		t.Errorf("sessions were opened: %v", p)
	}
	w.forge.Review(4, "alice", "approved")
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusSuccess), "1 to create")
	if p := drain(d.opened); len(p) == 0 || p[0] != driver.Read {
		t.Errorf("sessions for a preview: %v", p)
	}
	// A word about one head is none about another that is pushed meanwhile.
	w.forge.Comment(4, "alice", "trueup plan")
	third := w.propose(4, "mallory", map[string]string{"web/new": "z\n"})
	asFork()
	w.event(forge.PullChanged, 4)
	w.planned(4, third, forge.StatusFailure)
	// The next push is another head: nobody has looked at it.
	second := w.propose(4, "mallory", map[string]string{"web/new": "y\n"})
	asFork()
	w.event(forge.PullChanged, 4)
	w.planned(4, second, forge.StatusFailure)
}

// A push while an older head is planned makes that plan worth nothing: it is
// not told, and the newer one is planned next.
func TestNewerPushSupersedesAPlanUnderWay(t *testing.T) {
	w := newPullWorld(t, "", "")
	d := newCodeDriver()
	w.files = d
	manifest := "version: 1\ntargets:\n"
	files := map[string]string{}
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		manifest += "  - {name: " + n + ", environment: site, path: " + n + ", scope: {files: [\"" + n + "*\"]}}\n"
		files[n+"/"+n+"1"] = "x\n"
	}
	files["trueup.yaml"] = manifest
	first := w.push(files)
	w.start()
	for _, n := range []string{"a", "g"} {
		w.synced("infra/"+n, first)
	}
	w.eventually("all synced", func() bool {
		n, err := w.st.CountTargets(context.Background())
		return err == nil && n[store.Synced] == 7
	})
	change := func(text string) map[string]string {
		m := map[string]string{}
		for _, n := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			m[n+"/"+n+"1"] = text
		}
		return m
	}
	wait := make(chan struct{})
	drain(d.prepared)
	d.wait.Store(&wait)
	old := w.propose(4, "dev", change("old\n"))
	w.event(forge.PullChanged, 4)
	w.eventually("planning", func() bool {
		return w.forge.Status(old, "trueup/plan").State == forge.StatusPending && len(d.prepared) > 0
	})
	head := w.propose(4, "dev", change("new\n"))
	w.event(forge.PullChanged, 4)
	close(wait)
	w.contains(w.planned(4, head, forge.StatusSuccess), "1 to update")
	if s := w.forge.Status(old, "trueup/plan"); s.State != forge.StatusPending {
		t.Errorf("the old head's status became %+v", s)
	}
	if strings.Contains(w.forge.Own(4)[0].Body, old[:8]) {
		t.Error("the comment is about the old head")
	}
}

// In a repository that follows tags the merge changes nothing yet; the tag
// does, and its outcome is told on the pull request.
func TestTagsDeployWhatWasMerged(t *testing.T) {
	w := newPullWorld(t, "", "")
	w.config = strings.Replace(w.config, "branch: main", "tags: \"v*\"", 1)
	first := w.push(many(3))
	w.run(w.git, "git", "tag", "v1.0.0")
	w.run(w.git, "git", "push", "-q", "origin", "v1.0.0")
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusSuccess), "1 to create")
	commit := w.merge(4, "dev", false)
	w.event(forge.PullChanged, 4)
	w.eventually("merge seen", func() bool {
		p, err := w.st.Pull(context.Background(), "infra", 4)
		return err == nil && p.State == store.PullMerged && w.quiet(4)
	})
	if w.file("new") != "" {
		t.Error("applied without a tag")
	}
	w.run(w.git, "git", "tag", "v1.1.0", commit)
	w.run(w.git, "git", "push", "-q", "origin", "v1.1.0")
	w.synced("infra/site", commit)
	w.eventually("status on the tag's commit", func() bool { return w.forge.Status(commit, "trueup/apply").State == forge.StatusSuccess })
	w.eventually("outcome in the comment", func() bool { return strings.Contains(w.forge.Own(4)[0].Body, "| applied") })
}
