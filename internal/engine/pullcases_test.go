package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// Whatever a pull request is, the status that a branch protection waits for
// comes.
func TestEveryHeadGetsItsStatus(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {drafts: false}", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	for i, c := range []struct {
		name  string
		files map[string]string
		edit  func(*forge.PullRequest)
		state forge.StatusState
		want  string
	}{
		{"no target is concerned", map[string]string{"README.md": "x\n"}, nil, forge.StatusSuccess, "no target is concerned"},
		{"fork", map[string]string{"web/new": "x\n"}, func(p *forge.PullRequest) { p.Fork, p.HeadProject = true, "mallory/infra" }, forge.StatusSuccess, "not planned: it comes from a fork"},
		{"draft", map[string]string{"web/new": "y\n"}, func(p *forge.PullRequest) { p.Draft = true }, forge.StatusSuccess, "not planned: it is a draft"},
		{"another base", map[string]string{"web/new": "z\n"}, func(p *forge.PullRequest) { p.Base = "stable" }, forge.StatusSuccess, "not planned: it goes to stable"},
		{"a mistake", map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: site, environment: sight, path: web}\n"}, nil, forge.StatusFailure, "1 mistake in the configuration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := i + 20
			head := w.propose(n, "dev", c.files)
			if c.edit != nil {
				p, err := w.forge.PullRequest(context.Background(), n)
				if err != nil {
					t.Fatal(err)
				}
				c.edit(&p)
				w.forge.Put(p)
			}
			w.event(forge.PullChanged, n)
			w.eventually("status", func() bool { return w.forge.Status(head, "trueup/plan").State == c.state })
			if s := w.forge.Status(head, "trueup/plan"); !strings.HasPrefix(s.Description, c.want) {
				t.Errorf("the status says %q, want %q", s.Description, c.want)
			}
			w.eventually("quiet", func() bool { return w.quiet(n) })
			if comments := w.forge.Own(n); c.state == forge.StatusSuccess && len(comments) > 0 {
				t.Errorf("there is a comment: %s", comments[0].Body)
			}
			if c.name == "a mistake" {
				w.contains(w.forge.Own(n)[0].Body, "`trueup.yaml:3:", `no environment "sight"`)
				if a := w.forge.Annotations(head, "trueup/findings"); len(a) != 1 || a[0].Path != "trueup.yaml" || a[0].Line != 3 {
					t.Errorf("annotations: %+v", a)
				}
			}
		})
	}
	if w.file("new") != "" {
		t.Error("something was applied")
	}
}

func TestConflictIsSaid(t *testing.T) {
	w := newPullWorld(t, "", "")
	w.push(many(3))
	head := w.propose(4, "dev", map[string]string{"web/f001": "theirs\n"})
	second := w.push(map[string]string{"web/f001": "ours\n"})
	w.start()
	w.synced("infra/site", second)
	w.contains(w.planned(4, head, forge.StatusFailure), "it can't be merged: merge conflict in web/f001")
}

// The plan is of the merge result, and it is made again when the base moves.
func TestPlanIsOfTheMergeResult(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	second := w.push(map[string]string{"web/base": "b\n"})
	w.synced("infra/site", second)
	w.eventually("planned on the new base", func() bool { return strings.Contains(w.forge.Own(4)[0].Body, second[:8]) })
	body := w.forge.Own(4)[0].Body
	w.contains(body, "1 to create", "+ new")
	if strings.Contains(body, "base ") && strings.Contains(body, "- base") {
		t.Errorf("the base's own file would be removed:\n%s", body)
	}
}

func TestNewChangedAndRemovedTargets(t *testing.T) {
	w := newPullWorld(t, "", "")
	files := many(2)
	files["trueup.yaml"] = "version: 1\ntargets:\n  - {name: site, environment: site, path: web, scope: {files: [f*]}}\n  - {name: old, environment: site, path: old, scope: {files: [old*]}}\n"
	files["old/old1"] = "o\n"
	first := w.push(files)
	w.start()
	w.synced("infra/site", first)
	w.synced("infra/old", first)
	head := w.propose(4, "dev", map[string]string{
		"trueup.yaml":  "version: 1\ntargets:\n  - {name: site, environment: site, path: web, scope: {files: [f*]}}\n  - {name: fresh, environment: site, path: fresh, scope: {files: [fresh*]}}\n",
		"fresh/fresh1": "n\n", "old/old1": ""})
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusSuccess), "| `infra/fresh` | `site` | 1 to create, new target | ready |",
		"| `infra/old` | `site` |  | **leaves Git**; orphaned: the 1 objects that it owns stay as they are |")
	if s := w.target("infra/old"); s.State != store.Active {
		t.Errorf("the target is %s", s.State)
	}
	if s := w.target("infra/fresh"); s.ID != "" {
		t.Error("the new target is stored")
	}
}

func TestCommandsAreCarriedOutOnce(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	help := w.say(4, "dev", "/trueup help")
	w.contains(w.answered(4, help, forge.Done), "| `trueup plan` |")
	odd := w.say(4, "dev", "trueup frobnicate `@admin`")
	w.contains(w.answered(4, odd, forge.Refused), "no such command")
	none := w.say(4, "dev", "> trueup help\n\n```\ntrueup help\n```\n    trueup help\nI like trueup very much indeed, really")
	plans := func() int {
		r, _, _ := w.st.Runs(context.Background(), store.RunFilter{Target: "infra/site", State: store.RunPlanned})
		return len(r)
	}
	before := plans()
	id := w.say(4, "dev", "trueup plan")
	w.answered(4, id, forge.Done)
	again := plans()
	if again != before+1 {
		t.Errorf("%d plans, before %d", again, before)
	}
	own := len(w.forge.Own(4))
	w.stop()
	w.start() // what was answered is known after a restart
	for range 3 {
		w.event(forge.Commented, 4)
		w.eventually("quiet", func() bool { return w.quiet(4) })
	}
	if n := plans(); n != again || len(w.forge.Own(4)) != own {
		t.Errorf("%d plans, want %d; %d comments, want %d", n, again, len(w.forge.Own(4)), own)
	}
	if r := w.forge.Reactions(none); len(r) != 0 {
		t.Errorf("a quotation was taken for a command: %v", r)
	}
	refused := w.say(4, "bob", "trueup plan")
	w.contains(w.answered(4, refused, forge.Refused), "not allowed", "permission:write")
}

func TestApplyBeforeTheMergeIsLocked(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {applyBeforeMerge: true}", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	w.answered(4, w.say(4, "bob", "trueup apply"), forge.Refused)
	if w.file("new") != "" {
		t.Fatal("applied by somebody who may not")
	}
	w.contains(w.answered(4, w.say(4, "dev", "trueup apply"), forge.Done), "Locked until merge or close")
	w.eventually("applied", func() bool { return w.file("new") == "x\n" })
	w.eventually("synced", func() bool {
		x := w.target("infra/site")
		return x.Status.Phase == store.Synced && x.Desired.Source == "lock" && x.Desired.Lock == "infra#4" && x.Status.Applied == x.Desired.Commit
	})
	// Drift is corrected to the locked state, and a push to main leaves it.
	w.write("new", "drifted\n")
	w.eventually("corrected", func() bool { return w.file("new") == "x\n" })
	second := w.push(map[string]string{"web/base": "b\n"})
	w.eventually("taken in", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && r.Head == second
	})
	if w.file("new") != "x\n" || w.file("base") != "" {
		t.Error("the lock did not hold")
	}
	// Another pull request can't take it over.
	other := w.propose(5, "dev", map[string]string{"web/other": "o\n"})
	w.event(forge.PullChanged, 5)
	w.contains(w.planned(5, other, forge.StatusSuccess), "locked by `infra#4`")
	w.contains(w.answered(5, w.say(5, "dev", "trueup apply"), forge.Refused), "locked by")
	w.answered(5, w.say(5, "dev", "trueup unlock"), forge.Refused)
	// Closed unmerged: main is in force again.
	w.forge.Close(4)
	w.event(forge.PullChanged, 4)
	w.synced("infra/site", second)
	if w.file("new") != "" || w.file("base") != "b\n" {
		t.Errorf("new %q, base %q", w.file("new"), w.file("base"))
	}
}

func TestLockIsGivenBackAtTheMergeAndByCommand(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {applyBeforeMerge: true}", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.planned(4, head, forge.StatusSuccess)
	w.answered(4, w.say(4, "dev", "trueup apply site"), forge.Done)
	w.eventually("applied", func() bool { return w.file("new") == "x\n" })
	w.answered(4, w.say(4, "dev", "trueup unlock"), forge.Done)
	w.eventually("main again", func() bool { return w.file("new") == "" && w.target("infra/site").Desired.Source == "branch" })
	w.synced("infra/site", first)
	w.answered(4, w.say(4, "dev", "trueup apply"), forge.Done)
	w.eventually("applied again", func() bool { return w.file("new") == "x\n" })
	commit := w.merge(4, "dev", true)
	w.synced("infra/site", commit)
	if x := w.target("infra/site"); x.Desired.Source != "branch" || x.Desired.Lock != "" {
		t.Errorf("still locked: %+v", x.Desired)
	}
}

func TestApplyBeforeTheMergeTakesTheOperatorsWord(t *testing.T) {
	for i, c := range []struct{ repository, policy, want string }{
		{"", "", "does not allow applying before the merge here"},
		{"pullRequests: {applyBeforeMerge: true}", "pullRequests: {applyBeforeMerge: false}", "its policy does not allow"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w := newPullWorld(t, c.repository, c.policy)
			first := w.push(many(3))
			w.start()
			w.synced("infra/site", first)
			head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
			w.event(forge.PullChanged, 4)
			w.planned(4, head, forge.StatusSuccess)
			w.contains(w.answered(4, w.say(4, "dev", "trueup apply"), forge.Refused), c.want)
			if w.file("new") != "" {
				t.Error("it was applied")
			}
		})
	}
}

func TestPolicyKeepsEnvironmentsOut(t *testing.T) {
	w := newPullWorld(t, "", "pullRequests: {plan: false}")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusSuccess), "left out", "the policy quick keeps its environments out")
}

// What comes from a repository shows as text, whatever it is written like.
func TestHostileContentStaysText(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/`@admin` <img src=x onerror=alert(1)>": "x\n",
		"web/text": "one\n```\n@everyone </details><script>alert(1)</script>\n````\n/approve\n"})
	w.event(forge.PullChanged, 4)
	body := w.planned(4, head, forge.StatusSuccess)
	inside := ""
	for line := range strings.Lines(body) {
		if mark := strings.TrimRight(line, "\n"); inside == "" && strings.HasPrefix(mark, "```") {
			inside = strings.TrimSuffix(mark, "diff")
		} else if inside != "" && mark == inside {
			inside = ""
		} else if inside == "" && (strings.Contains(line, "@everyone") || strings.Contains(line, "@admin") || strings.Contains(line, "<script") || strings.Contains(line, "<img")) {
			t.Errorf("outside of code: %q", line)
		}
	}
	if inside != "" || !strings.Contains(body, "@everyone") {
		t.Errorf("the block is not closed, or is empty:\n%s", body)
	}
}

func TestMergeQueueGroupGetsItsStatus(t *testing.T) {
	w := newPullWorld(t, "", "")
	first := w.push(many(3))
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/new": "x\n"})
	for i, ref := range []string{"refs/heads/gh-readonly-queue/main/pr-4", "refs/merge-requests/4/train"} {
		group := w.run(w.git, "git", "commit-tree", "-m", fmt.Sprint("group ", i), "-p", head, head+"^{tree}")
		w.run(w.git, "git", "push", "-q", "origin", group+":"+ref)
		if err := w.e.Event(context.Background(), "infra", forge.Event{Kind: forge.MergeQueue, Ref: ref, Commit: group}); err != nil {
			t.Fatal(err)
		}
		w.eventually("status", func() bool { return w.forge.Status(group, "trueup/plan").State == forge.StatusSuccess })
		w.contains(w.forge.Status(group, "trueup/plan").Description, "1 change to 1 target")
	}
}

func TestNoSecretIsTold(t *testing.T) {
	w := newPullWorld(t, "pullRequests: {applyBeforeMerge: true}", "approve: [{when: \"pull > 0\", by: [\"team:sre\"]}, {by: auto}]")
	var log lockedBuffer
	w.log = &log
	files := many(3)
	files["trueup.yaml"] = "version: 1\ntargets:\n  - {name: site, environment: site, path: web, spec: {sensitive: [key]}}\n"
	files["web/key"] = "canary-first\n"
	first := w.push(files)
	w.start()
	w.synced("infra/site", first)
	head := w.propose(4, "dev", map[string]string{"web/key": "canary-second\n"})
	w.event(forge.PullChanged, 4)
	w.contains(w.planned(4, head, forge.StatusSuccess), "! key", "***")
	w.answered(4, w.say(4, "alice", "trueup approve site"), forge.Done)
	w.answered(4, w.say(4, "mallory", "trueup approve site"), forge.Refused)
	w.answered(4, w.say(4, "dev", "trueup apply"), forge.Done)
	w.eventually("applied", func() bool { return w.file("key") == "canary-second\n" })
	commit := w.merge(4, "dev", false)
	w.synced("infra/site", commit)
	w.eventually("told", func() bool { return w.forge.Status(commit, "trueup/apply").State == forge.StatusSuccess })
	if strings.Contains(w.forge.Written(), "canary") {
		t.Error("a secret was told to the forge")
	}
	if strings.Contains(log.String(), "canary") {
		t.Error("a secret is in the log")
	}
	events, err := w.st.Events(context.Background(), 0, 1000)
	if err != nil || strings.Contains(allData(events), "canary") || len(events) == 0 {
		t.Errorf("%d events, a secret among them? %v", len(events), err)
	}
	runs, _, err := w.st.Runs(context.Background(), store.RunFilter{State: store.RunPlanned})
	if err != nil || len(runs) == 0 {
		t.Fatal(runs, err)
	}
	for _, r := range runs {
		if p, _, err := w.st.Plan(context.Background(), r.ID); err != nil || strings.Contains(asJSON(p), "canary") {
			t.Errorf("the plan of %s: %v", r.ID, err)
		}
	}
}

func allData(events []store.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.Write(e.Data)
	}
	return b.String()
}

func asJSON(v any) string {
	b, _ := json.Marshal(v) // plain data
	return string(b)
}
