package engine_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// answered waits for the reaction to a command and gives the answer.
func (w *world) answered(number int, id string, r forge.Reaction) string {
	w.t.Helper()
	w.eventually("reaction "+string(r), func() bool {
		for _, x := range w.forge.Reactions(id) {
			if x == r {
				return true
			}
		}
		return false
	})
	w.eventually("answer sent", func() bool {
		_, err := w.st.Work(context.Background(), store.Outbox, "forge/infra/answer/"+strconv.Itoa(number)+"/"+id)
		return err != nil
	})
	for _, c := range w.forge.Own(number) {
		if strings.HasPrefix(c.Body, "<!-- trueup:answer:"+id+" -->") {
			return c.Body
		}
	}
	return ""
}

func (w *world) say(number int, who, text string) string {
	w.t.Helper()
	id := w.forge.Comment(number, who, text)
	w.event(forge.Commented, number)
	return id
}

// The whole way: proposed, planned, refused to the wrong one, approved by the
// right one, squashed, applied on that approval, and told.
func TestApprovalOnAPullRequestSurvivesTheSquash(t *testing.T) {
	w := newPullWorld(t, "", "approve: [{by: [\"team:sre\"], notAuthor: true}]")
	first := w.push(many(3))
	w.start()
	w.held("infra/site", engine.GateApproval)
	if _, err := w.e.Approve(context.Background(), engine.Approver{Actor: "user:alice", Teams: []string{"sre"}}, "infra/site",
		w.target("infra/site").Status.PlanHash, ""); err != nil {
		t.Fatal(err)
	}
	w.synced("infra/site", first)

	head := w.propose(12, "dev", map[string]string{"web/new": "hello\n"})
	w.event(forge.PullChanged, 12)
	text := w.planned(12, head, forge.StatusSuccess)
	w.contains(text, "needs approval", "by team:sre", "trueup approve ")
	w.contains(w.forge.Status(head, "trueup/plan").Description, "1 held for approval")

	wrong := w.say(12, "bob", "trueup approve infra/site")
	w.contains(w.answered(12, wrong, forge.Refused), "approve")
	stranger := w.say(12, "mallory", "trueup approve site")
	w.answered(12, stranger, forge.Refused)
	right := w.say(12, "alice", "Looks good.\n\ntrueup approve site\n")
	w.contains(w.answered(12, right, forge.Done), "Approved plan")
	w.eventually("the comment says so", func() bool { return strings.Contains(w.forge.Own(12)[0].Body, "approved by `user:alice`") })

	w.forge.Settling = 2
	commit := w.merge(12, "alice", true)
	w.synced("infra/site", commit)
	if w.file("new") != "hello\n" {
		t.Error("the change is not there")
	}
	w.eventually("status on the merge commit", func() bool { return w.forge.Status(commit, "trueup/apply").State == forge.StatusSuccess })
	w.eventually("outcome in the comment", func() bool {
		b := w.forge.Own(12)[0].Body
		return strings.Contains(b, "### trueup apply") && strings.Contains(b, "| `infra/site` | `site` | applied")
	})
	var run store.Run
	w.eventually("origin of the run", func() bool {
		run, _ = w.st.Run(context.Background(), w.target("infra/site").Status.Run)
		return run.Origin != nil && run.Origin.Merged.Login == "alice"
	})
	if o := run.Origin; o.Number != 12 || o.Proposed.Login != "dev" || len(o.Approved) != 1 || o.Approved[0].Actor != "user:alice" || o.Approved[0].Via != store.ByComment {
		t.Errorf("the origin is %+v", o)
	}
	if !strings.Contains(run.Approval, "user:alice") {
		t.Errorf("the run rests on %q", run.Approval)
	}
	w.eventually("deployment", func() bool {
		for _, d := range w.forge.Deployments() {
			if d.Commit == commit && d.Environment == "site" && d.State == "success" {
				return true
			}
		}
		return false
	})
	for _, s := range w.forge.Statuses(commit, "trueup/apply") {
		if s.State == forge.StatusFailure {
			t.Errorf("a failure was told: %+v", s)
		}
	}
}

// An approval of one plan is none of another.
func TestApprovalDoesNotCoverANewPush(t *testing.T) {
	w := newPullWorld(t, "", "approve: [{when: \"plan.writes > 0 && pull > 0\", by: [\"team:sre\"]}, {by: auto}]")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(3, "dev", map[string]string{"web/new": "one\n"})
	w.event(forge.PullChanged, 3)
	w.planned(3, head, forge.StatusSuccess)
	w.answered(3, w.say(3, "alice", "trueup approve site"), forge.Done)
	// Nor is a word by name about a plan that was put in its place meanwhile.
	// It is not heard before the new plan is there.
	w.forge.Fail(func(call string) error {
		if call == "List" {
			return forge.ErrUnreachable
		}
		return nil
	})
	late := w.forge.Comment(3, "alice", "trueup approve site")
	head = w.propose(3, "dev", map[string]string{"web/new": "three\n"})
	w.forge.Fail(nil)
	w.event(forge.PullChanged, 3)
	w.planned(3, head, forge.StatusSuccess)
	w.contains(w.answered(3, late, forge.Refused), "the plan has changed since")
	w.propose(3, "dev", map[string]string{"web/new": "two\n"})
	commit := w.merge(3, "dev", false)
	w.held("infra/site", engine.GateApproval)
	w.eventually("held is told", func() bool {
		s := w.forge.Status(commit, "trueup/apply")
		return s.State == forge.StatusPending && strings.Contains(s.Description, "1 held")
	})
	if w.file("new") != "" {
		t.Error("it was applied")
	}
	// What is held after the merge can be approved on the pull request as well.
	// The name would stand for whatever waits by now: its hash is asked for.
	hash := w.target("infra/site").Status.PlanHash
	w.contains(w.answered(3, w.say(3, "alice", "trueup approve site"), forge.Refused), "by its hash", "trueup approve "+hash[:12])
	w.answered(3, w.say(3, "alice", "trueup approve "+hash[:12]), forge.Done)
	w.synced("infra/site", commit)
}

// Reviews on the forge count where the rule says so, for the plan that was
// shown when they were given.
func TestReviewsCount(t *testing.T) {
	w := newPullWorld(t, "", "approve: [{when: \"pull > 0\", by: [\"team:sre\"], reviews: true}, {by: auto}]")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(3, "dev", map[string]string{"web/new": "one\n"})
	w.forge.Review(3, "mallory", "rejected")
	w.event(forge.PullChanged, 3)
	w.planned(3, head, forge.StatusSuccess)
	w.eventually("quiet", func() bool { return w.quiet(3) })
	w.forge.Review(3, "mallory", "rejected") // anybody may ask for changes on the forge
	w.forge.Review(3, "alice", "approved")
	w.event(forge.PullChanged, 3)
	w.eventually("the review counts", func() bool { return strings.Contains(w.forge.Own(3)[0].Body, "approved by `user:alice`") })
	commit := w.merge(3, "dev", false)
	w.synced("infra/site", commit)
}

func TestFailureMentionsTheAuthorOnce(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(5, "dev", map[string]string{"trueup.yaml": strings.Replace(baseManifest, "path: web}", "path: web, health: [{http: \"http://127.0.0.1:1/\", within: 1s}]}", 1),
		"web/new": "x\n"})
	w.event(forge.PullChanged, 5)
	w.planned(5, head, forge.StatusSuccess)
	commit := w.merge(5, "dev", false)
	w.eventually("failure on the commit", func() bool { return w.forge.Status(commit, "trueup/apply").State == forge.StatusFailure })
	mentions := func() int {
		n := 0
		for _, c := range w.forge.Own(5) {
			if strings.Contains(c.Body, "@dev ") {
				n++
			}
		}
		return n
	}
	w.eventually("mention", func() bool { return mentions() == 1 })
	runs := func() int {
		r, _, _ := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/site"})
		return len(r)
	}
	n := runs()
	if err := w.e.Sync(context.Background(), "user:alice", "infra/site", engine.SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("another try", func() bool { return runs() > n })
	w.eventually("quiet", func() bool { return w.quiet(5) })
	if mentions() != 1 {
		t.Errorf("%d mentions", mentions())
	}
}

// The forge may be away: what Git says is applied all the same, and told later.
func TestForgeDownDoesNotHoldReconciling(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	w.forge.Fail(func(string) error { return forge.ErrUnreachable })
	commit := w.push(map[string]string{"web/new": "x\n"})
	w.synced("infra/site", commit)
	head := w.propose(2, "dev", map[string]string{"web/other": "y\n"})
	w.forge.Fail(nil)
	w.eventually("told later", func() bool { return w.forge.Status(commit, "trueup/apply").State == forge.StatusSuccess })
	// No delivery came: the poll finds the pull request.
	w.planned(2, head, forge.StatusSuccess)
}

func TestRateLimitIsWaitedFor(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	limited := make(chan struct{}, 100)
	w.forge.Fail(func(call string) error {
		if call != "SetStatus" {
			return nil
		}
		select {
		case limited <- struct{}{}:
		default:
		}
		return forge.LimitedError{}
	})
	w.start()
	w.synced("infra/site", first)
	<-limited
	w.forge.Fail(nil)
	w.eventually("told after the limit", func() bool { return w.forge.Status(first, "trueup/apply").State == forge.StatusSuccess })
}

// A crash between what is said and what is remembered says it again at most;
// the last state stands.
func TestCrashBetweenStatusAndStore(t *testing.T) {
	w := newPullWorld(t, "", "")
	crashes := map[string]int{"forge status set": 2, "forge comment": 1, "command done": 1}
	lock := make(chan struct{}, 1)
	w.fail = func(point string) error {
		lock <- struct{}{}
		defer func() { <-lock }()
		if crashes[point] > 0 {
			crashes[point]--
			return errors.New("killed here")
		}
		return nil
	}
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(9, "dev", map[string]string{"web/new": "x\n"})
	id := w.say(9, "dev", "trueup plan")
	w.planned(9, head, forge.StatusSuccess)
	w.answered(9, id, forge.Done)
	w.eventually("quiet", func() bool { return w.quiet(9) })
	if n := len(w.forge.Own(9)); n != 1 {
		t.Errorf("there are %d comments: %+v", n, w.forge.Own(9))
	}
	if s := w.forge.Status(head, "trueup/plan"); s.State != forge.StatusSuccess {
		t.Errorf("the status is %+v", s)
	}
}

// A rule about pull requests is not answered by guessing: while the forge does
// not tell how a commit came to be, nothing is let pass on it.
func TestRulesAboutPullRequestsWaitForTheForge(t *testing.T) {
	w := newPullWorld(t, "", "approve: [{when: \"pull > 0\", by: [\"team:sre\"]}, {by: auto}]")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	w.propose(6, "dev", map[string]string{"web/new": "x\n"})
	w.forge.Fail(func(call string) error {
		if call == "MergedBy" || call == "PullRequest" {
			return forge.ErrUnreachable
		}
		return nil
	})
	w.merge(6, "dev", false)
	w.held("infra/site", engine.GateDependency)
	if w.file("new") != "" {
		t.Fatal("applied under a rule that could not know")
	}
	w.forge.Fail(nil)
	w.held("infra/site", engine.GateApproval)
	if w.file("new") != "" {
		t.Error("applied without the approval")
	}
}
