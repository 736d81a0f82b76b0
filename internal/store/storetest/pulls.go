package storetest

import (
	"encoding/json"
	"errors"
	"time"

	"trueup.dev/trueup/internal/store"
)

func init() {
	register("records/pulls", pulls)
	register("records/landings", landings)
	register("records/sayings", sayings)
	register("records/planned runs", plannedRuns)
}

func pulls(e *env) {
	l := e.hold("a/1")
	_, err := e.Pull(e.ctx, "infra", 7)
	e.missing("unknown", err)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for n, state := range map[int]store.PullState{7: store.PullOpen, 9: store.PullOpen, 8: store.PullMerged} {
		e.ok(e.PutPull(e.ctx, l.Fence, store.Pull{Repository: "infra", Number: n, State: state, Head: "h", UpdatedAt: at, Doc: json.RawMessage(`{"x":1}`)}))
	}
	e.ok(e.PutPull(e.ctx, l.Fence, store.Pull{Repository: "other", Number: 7, State: store.PullOpen}))
	got, err := e.Pull(e.ctx, "infra", 7)
	e.ok(err)
	e.equal("read back", line(got.State, got.Head, got.UpdatedAt.Equal(at), string(got.Doc)), `open h true {"x":1}`)
	open, err := e.Pulls(e.ctx, "infra", store.PullOpen)
	e.ok(err)
	e.equal("open ones", line(len(open), open[0].Number, open[1].Number, open[0].UpdatedAt.Equal(at)), "2 7 9 true")
	e.ok(e.PutPull(e.ctx, l.Fence, store.Pull{Repository: "infra", Number: 7, State: store.PullClosed, Head: "h2"}))
	if got, err = e.Pull(e.ctx, "infra", 7); err != nil || got.State != store.PullClosed || got.Head != "h2" || !got.UpdatedAt.IsZero() {
		e.t.Fatalf("overwritten: %+v, %v", got, err)
	}
	e.ok(e.PutPull(e.ctx, l.Fence, store.Pull{Repository: "infra", Number: 8, State: store.PullMerged, Landed: "c9"}))
	brought, err := e.LandedWith(e.ctx, "infra", "c9")
	e.ok(err)
	e.equal("brought by", line(brought), "[8]")
	stale := l.Fence
	stale.Token++
	if err := e.PutPull(e.ctx, stale, got); !errors.Is(err, store.ErrFenced) {
		e.t.Fatalf("a stale fence: %v", err)
	}
}

func plannedRuns(e *env) {
	l := e.hold("a/1")
	for i, state := range []store.RunState{store.RunSucceeded, store.RunPlanned, store.RunPlanned, store.RunPlanned} {
		e.ok(e.PutRun(e.ctx, l.Fence, store.Run{ID: "r" + string(rune('1'+i)), Target: "a/1", State: state}))
	}
	ids := func(state store.RunState) string {
		runs, _, err := e.Runs(e.ctx, store.RunFilter{Target: "a/1", State: state})
		e.ok(err)
		out := ""
		for _, r := range runs {
			out += r.ID
		}
		return out
	}
	e.equal("plans for pull requests are no history", ids(""), "r1")
	e.equal("unless they are asked for", ids(store.RunPlanned), "r4r3r2")
	e.ok(e.Retain(e.ctx, 1, 24*time.Hour))
	e.equal("plans don't push runs out", ids("")+ids(store.RunPlanned), "r1r4")
}

func landings(e *env) {
	l := e.hold("a/1")
	_, err := e.Landing(e.ctx, "infra", "c1")
	e.missing("unknown", err)
	e.missing("origin of an unknown one", e.SetOrigin(e.ctx, l.Fence, "infra", "c1", store.Origin{}))
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []string{"c1", "c2", "c3"} {
		e.ok(e.PutLanding(e.ctx, l.Fence, store.Landing{Repository: "infra", Commit: c, Ref: "refs/heads/main", Targets: []string{"a/1"}, At: at.Add(time.Duration(i) * time.Minute)}))
	}
	e.ok(e.SetOrigin(e.ctx, l.Fence, "infra", "c2", store.Origin{Number: 5, Title: "t"}))
	e.ok(e.PutLanding(e.ctx, l.Fence, store.Landing{Repository: "infra", Commit: "c2", At: at.Add(time.Hour)}))
	got, err := e.Landing(e.ctx, "infra", "c2")
	e.ok(err)
	e.equal("what is known stays", line(got.Commit, got.Targets, got.Origin.Number, got.Final, got.At.Equal(at.Add(time.Minute))), "c2 [a/1] 5 false true")
	e.ok(e.EndLanding(e.ctx, l.Fence, "infra", "c2"))
	list, err := e.Landings(e.ctx, "infra", 2)
	e.ok(err)
	e.equal("newest first", line(len(list), list[0].Commit, list[1].Commit, list[1].Final, list[0].Origin == nil), "2 c3 c2 true true")
}

func sayings(e *env) {
	l := e.hold("a/1")
	_, err := e.Said(e.ctx, "infra", "comment/7")
	e.missing("unknown", err)
	e.ok(e.Say(e.ctx, l.Fence, "infra", "comment/7", store.Said{ID: "1", Hash: "h1"}))
	e.ok(e.Say(e.ctx, l.Fence, "infra", "comment/7", store.Said{ID: "1", Hash: "h2"}))
	got, err := e.Said(e.ctx, "infra", "comment/7")
	e.ok(err)
	e.equal("the newest counts", line(got.ID, got.Hash, got.At.IsZero()), "1 h2 false")
}
