package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("records/targets", targets)
	register("records/ten thousand targets", tenThousand)
	register("records/rename", renameTarget)
	register("records/repositories", repositories)
	register("records/runs", runs)
	register("records/logs", logs)
	register("records/plans", plans)
	register("records/approvals", approvals)
	register("records/outputs", outputs)
	register("records/events", events)
	register("records/holds", holds)
	register("records/fingerprints", fingerprints)
	register("records/keys", keys)
}

func (e *env) missing(what string, err error) {
	e.t.Helper()
	if !errors.Is(err, store.ErrNotFound) {
		e.t.Fatalf("%s: got %v, want ErrNotFound", what, err)
	}
}

func targetOf(id string, source string) store.Target {
	return store.Target{ID: id, Repository: "infra", Manifest: "trueup.yaml", Name: id, Environment: "env-" + id[:1],
		Config: json.RawMessage(`{"path":"p"}`), Desired: store.Desired{Commit: "c1", Source: source}}
}

func targets(e *env) {
	repo := store.RepositoryState{Name: "infra", Head: "c1", Manifests: map[string]string{"trueup.yaml": "b1"}}
	e.ok(e.PutTargets(e.ctx, repo, []store.Target{targetOf("a/1", "branch"), targetOf("a/2", "branch"), targetOf("b/1", "branch")},
		nil, []store.Trigger{trigger("a/1", store.ByPush)}))
	e.equal("triggered with it", keysOf(e.claim(options("x", 5))), "a/1")
	got, err := e.Target(e.ctx, "a/2")
	e.ok(err)
	e.equal("state", got.State, store.Active)
	e.equal("phase", got.Status.Phase, store.Pending)
	e.equal("config", string(got.Config), `{"path":"p"}`)
	_, err = e.Target(e.ctx, "nobody")
	e.missing("unknown", err)

	l := e.hold("a/2")
	e.ok(e.SetStatus(e.ctx, l.Fence, "a/2", store.Status{Phase: store.Synced, Applied: "c1", Owned: 3}))
	e.ok(e.SetDesired(e.ctx, "a/1", store.Desired{Commit: "c0", Source: "pin", Bad: "v1", Actor: "user:alice"}))
	repo.Head = "c2"
	again := targetOf("a/1", "branch")
	again.Desired.Commit = "c2"
	moved := targetOf("a/2", "branch")
	moved.Desired.Commit, moved.Environment = "c2", "env-z"
	e.ok(e.PutTargets(e.ctx, repo, []store.Target{again, moved}, []string{"b/1"}, nil))
	one, err := e.Target(e.ctx, "a/1")
	e.ok(err)
	e.equal("a pin stays", one.Desired.Commit+one.Desired.Source, "c0pin")
	two, err := e.Target(e.ctx, "a/2")
	e.ok(err)
	e.equal("a new commit", two.Desired.Commit, "c2")
	e.equal("the status stays", two.Status.Owned, 3)
	e.ok(e.SetDesired(e.ctx, "a/2", store.Desired{Commit: "c3", Source: "lock", Lock: "r#1"}))
	e.ok(e.SetDesired(e.ctx, "a/2", store.Desired{Commit: "c4", Source: "lock", Lock: "r#1"}))
	err = e.SetDesired(e.ctx, "a/2", store.Desired{Commit: "c5", Source: "lock", Lock: "r#2"})
	e.equal("a lock is not taken over", errors.Is(err, store.ErrConflict), true)
	e.ok(e.SetDesired(e.ctx, "a/2", store.Desired{Commit: "c2", Source: "branch"}))
	e.missing("a lock on nothing", e.SetDesired(e.ctx, "nobody", store.Desired{Commit: "c5", Source: "lock", Lock: "r#2"}))
	e.equal("a new environment", two.Environment, "env-z")
	list, _, err := e.Targets(e.ctx, store.TargetFilter{State: store.Orphaned})
	e.ok(err)
	e.equal("orphans", len(list), 1)
	counts, err := e.CountTargets(e.ctx)
	e.ok(err)
	e.equal("counts", line(counts[store.Synced], counts[store.Pending]), "1 2")

	var seen []string
	for after := ""; ; {
		page, cursor, err := e.Targets(e.ctx, store.TargetFilter{Repository: "infra", Page: store.Page{After: after, Limit: 2}})
		e.ok(err)
		for _, x := range page {
			seen = append(seen, x.ID)
		}
		if after = cursor; cursor == "" {
			break
		}
	}
	e.equal("by page", strings.Join(seen, " "), "a/1 a/2 b/1")
	e.missing("status of nobody", e.SetStatus(e.ctx, l.Fence, "nobody", store.Status{}))
}

func tenThousand(e *env) {
	const n = 10_000
	list := make([]store.Target, n)
	triggers := make([]store.Trigger, n)
	for i := range list {
		list[i] = targetOf(fmt.Sprintf("t/%05d", i), "branch")
		triggers[i] = trigger(list[i].ID, store.ByPush)
	}
	took := func(what string, most time.Duration, fn func()) {
		e.t.Helper()
		start := time.Now()
		fn()
		d := time.Since(start)
		e.t.Logf("%s: %v", what, d.Round(time.Millisecond))
		if d > most {
			e.t.Errorf("%s took %v, more than %v", what, d, most)
		}
	}
	repo := store.RepositoryState{Name: "infra"}
	took("10,000 targets", 10*time.Second, func() { e.ok(e.PutTargets(e.ctx, repo, list, nil, nil)) })
	took("10,000 triggers", 10*time.Second, func() { e.ok(e.Trigger(e.ctx, triggers...)) })
	o := options("x", 100)
	o.DefaultSlot = n
	took("10,000 leased and finished", 60*time.Second, func() {
		for {
			leases := e.claim(o)
			if len(leases) == 0 {
				return
			}
			for _, l := range leases {
				e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, NextDue: e.clock.Now().Add(time.Hour)}))
			}
		}
	})
	took("one of them", time.Second, func() {
		e.ok(e.PutTargets(e.ctx, repo, list[:1], nil, triggers[:1]))
		l := e.claim(o)
		e.equal("leased", len(l), 1)
		e.ok(e.Finish(e.ctx, l[0].Fence, store.Finish{Observed: l[0].Generation}))
	})
}

func renameTarget(e *env) {
	e.ok(e.PutTargets(e.ctx, store.RepositoryState{Name: "infra"}, []store.Target{targetOf("a/old", "branch"), targetOf("a/new", "branch"), targetOf("a/third", "branch")}, nil, nil))
	l := e.hold("a/old")
	e.record(l, "r1", result("www", plan.Create, plan.Applied))
	e.equal("claimed", e.take(l, "zone", "a/old", "www"), "")
	e.ok(e.PutRun(e.ctx, l.Fence, store.Run{ID: "r1", Target: "a/old", State: store.RunSucceeded}))
	e.ok(e.SetStatus(e.ctx, l.Fence, "a/old", store.Status{Phase: store.Synced, Owned: 1}))
	_, err := e.PutOutputs(e.ctx, l.Fence, "a/old", map[string]plan.Output{"ip": {Value: json.RawMessage(`"1.2.3.4"`), Sensitive: true}})
	e.ok(err)
	e.ok(e.AddApproval(e.ctx, store.Approval{Target: "a/old", Digest: "d", PlanHash: "h", Approved: true}))
	e.equal("not while it runs", errors.Is(e.Rename(e.ctx, "a/old", "a/new"), store.ErrConflict), true)
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation}))
	e.ok(e.Rename(e.ctx, "a/old", "a/new"))
	e.equal("inventory", len(e.owned("a/new")), 1)
	_, err = e.Target(e.ctx, "a/old")
	e.missing("the old id", err)
	got, err := e.Target(e.ctx, "a/new")
	e.ok(err)
	e.equal("status", got.Status.Owned, 1)
	r, err := e.Run(e.ctx, "r1")
	e.ok(err)
	e.equal("run", r.Target, "a/new")
	out, err := e.Outputs(e.ctx, "a/new")
	e.ok(err)
	e.equal("output", string(out["ip"].Value), `"1.2.3.4"`)
	as, err := e.Approvals(e.ctx, "a/new", "d", "h")
	e.ok(err)
	e.equal("approvals", len(as), 1)
	l = e.hold("a/new")
	e.equal("claims", e.take(l, "zone", "a/third", "www"), "a/new:www")
	e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation}))
	e.missing("nobody", e.Rename(e.ctx, "a/old", "a/x"))
	e.equal("onto an owner", errors.Is(e.Rename(e.ctx, "a/third", "a/new"), store.ErrConflict), true)
	e.ok(e.Rename(e.ctx, "a/new", "a/newest"))
	e.equal("to an unknown id", len(e.owned("a/newest")), 1)
}

func repositories(e *env) {
	_, err := e.Repository(e.ctx, "infra")
	e.missing("unknown", err)
	r := store.RepositoryState{Name: "infra", Head: "c1", Manifests: map[string]string{"a": "1"}}
	r.Invalid.Errorf(plan.Source{File: "trueup.yaml", Line: 1}, "targets", "mend", "bad")
	e.ok(e.PutRepository(e.ctx, r))
	r.Manifests, r.FetchedAt = nil, e.clock.Now()
	e.ok(e.PutRepository(e.ctx, r))
	got, err := e.Repository(e.ctx, "infra")
	e.ok(err)
	e.equal("manifests stay", got.Manifests["a"], "1")
	e.equal("fetched", got.FetchedAt.Equal(e.clock.Now()), true)
	e.equal("invalid", got.Invalid.Error(), r.Invalid.Error())
	r.Manifests = map[string]string{}
	e.ok(e.PutRepository(e.ctx, r))
	all, err := e.Repositories(e.ctx)
	e.ok(err)
	e.equal("all", len(all), 1)
	e.equal("emptied", len(all[0].Manifests), 0)
}

func runs(e *env) {
	l := e.hold("a/1")
	for i := range 5 {
		r := store.Run{ID: fmt.Sprintf("run-%d", i), Target: "a/1", Environment: "env", Repository: "infra", State: store.RunActive, Error: "bad \x00 \xff text"}
		e.ok(e.PutRun(e.ctx, l.Fence, r))
		r.State, r.Error = store.RunSucceeded, ""
		e.clock.Move(time.Minute)
		if i < 4 {
			e.ok(e.PutRun(e.ctx, l.Fence, r))
		}
	}
	origin := store.Origin{Forge: "gitea", Number: 7, Title: "a title", Proposed: store.Party{Login: "ann-gh", Actor: "user:ann"},
		Approved: []store.Assent{{Party: store.Party{Login: "bob"}, Via: store.ByReview, Commit: "c1", At: e.clock.Now()}}, Merged: store.Party{Login: "carl"}}
	e.ok(e.PutRun(e.ctx, l.Fence, store.Run{ID: "run-1", Target: "a/1", Environment: "env", Repository: "infra", State: store.RunSucceeded,
		Finished: e.clock.Now().Add(-3 * time.Minute), Origin: &origin}))
	got, err := e.Run(e.ctx, "run-1")
	e.ok(err)
	e.equal("origin", fmt.Sprint(*got.Origin), fmt.Sprint(origin))
	e.equal("duration", got.Finished.Sub(got.Started), time.Minute)
	list, cursor, err := e.Runs(e.ctx, store.RunFilter{Target: "a/1", Page: store.Page{Limit: 2}})
	e.ok(err)
	e.equal("newest first", list[0].ID+list[1].ID, "run-4run-3")
	list, cursor, err = e.Runs(e.ctx, store.RunFilter{Target: "a/1", Page: store.Page{Limit: 3, After: cursor}})
	e.ok(err)
	e.equal("the rest", line(len(list), cursor), "3 ")
	list, _, err = e.Runs(e.ctx, store.RunFilter{State: store.RunActive})
	e.ok(err)
	e.equal("running", len(list), 1)
	list, _, err = e.Runs(e.ctx, store.RunFilter{Environment: "env", Until: got.Started.Add(time.Second)})
	e.ok(err)
	e.equal("until", len(list), 2)
	e.ok(e.AddResults(e.ctx, l.Fence, "run-1", []plan.Result{result("a", plan.Create, plan.Applied), result("b", plan.Create, plan.Failed)}))
	e.ok(e.AddResults(e.ctx, l.Fence, "run-1", []plan.Result{result("c", plan.Create, plan.Applied)}))
	rs, err := e.Results(e.ctx, "run-1")
	e.ok(err)
	e.equal("results", line(len(rs), rs[1].Outcome, rs[2].Address), "3 failed c")
}

func logs(e *env) {
	e.ok(e.AddLog(e.ctx, "r1", []store.LogLine{{Text: "one"}, {Text: "two\x00"}}))
	e.ok(e.AddLog(e.ctx, "r1", []store.LogLine{{Seq: 2, Text: "again"}, {Seq: 3, Text: "three"}}))
	lines, err := e.Log(e.ctx, "r1", 1)
	e.ok(err)
	e.equal("lines", len(lines), 2)
	e.equal("texts", lines[0].Text+lines[1].Text, "two\uFFFDthree")
	e.equal("at", lines[1].At.Equal(e.clock.Now()), true)
}

func plans(e *env) {
	l := e.hold("a/1")
	p := &plan.Plan{Target: "a/1", Driver: "dns", Mode: plan.Apply, Artefact: []byte("artefact secret"),
		Scopes:  []plan.ScopePlan{{Scope: "z", Realm: "r", Base: map[plan.Address]string{"a": "h"}}},
		Outputs: map[string]plan.Output{"pw": {Value: json.RawMessage(`"hunter2"`), Sensitive: true}, "ip": {Value: json.RawMessage(`"::1"`)}}}
	for i := range 20_000 {
		p.Changes = append(p.Changes, plan.Change{Key: key(fmt.Sprintf("%d", i*7919%20000)), Action: plan.Create, After: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i*i))})
	}
	e.ok(e.PutPlan(e.ctx, l.Fence, "r1", "hash1", p))
	e.equal("the caller's plan is untouched", string(p.Outputs["pw"].Value), `"hunter2"`)
	got, hash, err := e.Plan(e.ctx, "r1")
	e.ok(err)
	e.equal("hash", hash, "hash1")
	want, err := p.Hash()
	e.ok(err)
	have, err := got.Hash()
	e.ok(err)
	e.equal("the same plan", have, want)
	e.equal("artefact", string(got.Artefact), "artefact secret")
	e.equal("output", string(got.Outputs["pw"].Value), `"hunter2"`)
	e.clock.Move(time.Second)
	p.Driver = "dns2"
	e.ok(e.PutPlan(e.ctx, l.Fence, "r2", "hash1", p))
	got, run, err := e.PlanByHash(e.ctx, "a/1", "hash1")
	e.ok(err)
	e.equal("the newest", got.Driver+run, "dns2r2")
	_, _, err = e.PlanByHash(e.ctx, "a/1", "none")
	e.missing("no such hash", err)
	_, _, err = e.Plan(e.ctx, "none")
	e.missing("no such run", err)
}

func approvals(e *env) {
	for i, hash := range []string{"h1", "h1", "h2"} {
		e.ok(e.AddApproval(e.ctx, store.Approval{Target: "a/1", Digest: "d", PlanHash: hash, Approved: i > 0, Actor: "user:alice"}))
		e.clock.Move(time.Second)
	}
	list, err := e.Approvals(e.ctx, "a/1", "d", "h1")
	e.ok(err)
	e.equal("approvals", line(len(list), list[0].Approved, list[1].Approved), "2 false true")
	e.equal("ids", list[0].ID != "" && list[0].ID != list[1].ID, true)
	list, err = e.Approvals(e.ctx, "a/1", "other", "h1")
	e.ok(err)
	e.equal("another digest", len(list), 0)
}

func outputs(e *env) {
	l := e.hold("a/1")
	put := func(o map[string]plan.Output) string {
		e.t.Helper()
		changed, err := e.PutOutputs(e.ctx, l.Fence, "a/1", o)
		e.ok(err)
		return strings.Join(changed, " ")
	}
	secret := plan.Output{Value: json.RawMessage(`{"a": 1, "b": 2}`), Sensitive: true}
	e.equal("new", put(map[string]plan.Output{"x": {Value: json.RawMessage(`1`)}, "s": secret}), "s x")
	secret.Value = json.RawMessage(`{"b":2,"a":1}`)
	e.equal("the same", put(map[string]plan.Output{"x": {Value: json.RawMessage(`1`)}, "s": secret}), "")
	e.equal("changed and gone", put(map[string]plan.Output{"x": {Unknown: true}}), "s x")
	got, err := e.Outputs(e.ctx, "a/1")
	e.ok(err)
	e.equal("outputs", line(len(got), got["x"].Unknown), "1 true")
}

func events(e *env) {
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "one", Actor: "user:alice"}, store.Event{Kind: "two", Data: json.RawMessage(`{"x":1}`)}))
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "three", Target: "a/1", Run: "r1"}))
	list, err := e.Events(e.ctx, 1, 10)
	e.ok(err)
	e.equal("events", line(len(list), list[0].Seq, list[0].Kind, string(list[0].Data), list[1].Seq, list[1].Target), `2 2 two {"x":1} 3 a/1`)
	e.equal("at", list[0].At.Equal(e.clock.Now()), true)
	list, err = e.Events(e.ctx, 0, 1)
	e.ok(err)
	e.equal("limit", len(list), 1)
}

func holds(e *env) {
	e.ok(e.PutHold(e.ctx, store.Hold{Kind: "freeze", Reason: "release", Actor: "user:alice"}))
	e.ok(e.PutHold(e.ctx, store.Hold{Kind: "target", Key: "a/1"}))
	e.ok(e.PutHold(e.ctx, store.Hold{Kind: "freeze", Reason: "longer", Actor: "user:bob"}))
	list, err := e.Holds(e.ctx)
	e.ok(err)
	e.equal("holds", line(len(list), list[0].Reason, list[1].Key), "2 longer a/1")
	e.ok(e.DropHold(e.ctx, "freeze", ""))
	e.missing("dropped", e.DropHold(e.ctx, "freeze", ""))
}

func fingerprints(e *env) {
	l := e.hold("a/1")
	digest, fp, err := e.Fingerprints(e.ctx, "a/1")
	e.ok(err)
	e.equal("none", line(digest, len(fp)), " 0")
	e.ok(e.PutFingerprints(e.ctx, l.Fence, "a/1", "d1", map[plan.Scope]store.Fingerprint{"z": {Value: "soa 7", At: e.clock.Now()}}))
	digest, fp, err = e.Fingerprints(e.ctx, "a/1")
	e.ok(err)
	e.equal("kept", digest+fp["z"].Value, "d1soa 7")
}

func keys(e *env) {
	a, err := e.Key(e.ctx, "content")
	e.ok(err)
	b, err := e.Key(e.ctx, "content")
	e.ok(err)
	c, err := e.Key(e.ctx, "other")
	e.ok(err)
	e.equal("length", len(a), 32)
	e.equal("stable", string(a), string(b))
	e.equal("different", string(a) != string(c), true)
}
