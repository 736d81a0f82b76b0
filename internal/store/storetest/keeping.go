package storetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("keeping/states and blobs", states)
	register("keeping/retain", retain)
	register("keeping/backup and restore", backup)
	register("keeping/secrets at rest", secretsAtRest)
}

func blobID(n int) string { return fmt.Sprintf("%040x", n) }

func (e *env) keep(l store.Lease, commit, kind string, keep int, blobs ...string) {
	e.t.Helper()
	type entry struct{ Path, Mode, Blob string }
	var list []entry
	for i, b := range blobs {
		e.ok(e.PutBlob(e.ctx, b, []byte(strings.Repeat(b+"\n", 100))))
		list = append(list, entry{fmt.Sprint("file", i), "100644", b})
	}
	listing, err := json.Marshal(list)
	e.ok(err)
	e.ok(e.KeepState(e.ctx, l.Fence, l.Key, store.KeptState{Commit: commit, Kind: kind, Listing: listing, Config: json.RawMessage(`{}`)}, keep))
}

func states(e *env) {
	o := func(commit string) bool { _, err := e.State(e.ctx, "a/1", commit); return err == nil }
	blob := func(id string) bool { _, err := e.Blob(e.ctx, id); return err == nil }
	l := e.hold("a/1")
	e.keep(l, "c1", "good", 2, blobID(1), blobID(2))
	for i := 2; i <= 4; i++ {
		e.clock.Move(2 * time.Hour)
		e.keep(l, fmt.Sprint("c", i), "applied", 2, blobID(2), blobID(i+10), fmt.Sprint("word", i))
	}
	e.equal("states", fmt.Sprint(o("c1"), o("c2"), o("c3"), o("c4")), "true false true true")
	e.equal("blobs", fmt.Sprint(blob(blobID(1)), blob(blobID(2)), blob(blobID(12)), blob(blobID(13))), "true true false true")
	e.equal("ids of another form", fmt.Sprint(blob("word2"), blob("word3")), "false true")
	s, err := e.State(e.ctx, "a/1", "c1")
	e.ok(err)
	e.equal("kind", s.Kind, "good")
	body, err := e.Blob(e.ctx, blobID(2))
	e.ok(err)
	e.equal("body", string(body), strings.Repeat(blobID(2)+"\n", 100))
	e.ok(e.PutBlob(e.ctx, "empty", nil))
	body, err = e.Blob(e.ctx, "empty")
	e.ok(err)
	e.equal("empty", len(body), 0)
	list, err := e.States(e.ctx, "a/1")
	e.ok(err)
	e.equal("newest first", list[0].Commit+list[1].Commit+list[2].Commit, "c4c3c1")
	e.ok(e.Retain(e.ctx, 10, time.Hour))
	e.equal("a new blob may rest", blob("empty"), true)
	e.clock.Move(2 * time.Hour)
	e.ok(e.Retain(e.ctx, 10, time.Hour))
	e.equal("nobody names it", blob("empty"), false)
	e.equal("named ones stay", blob(blobID(1)), true)
}

func retain(e *env) {
	l, other := e.hold("a/1"), e.hold("b/1")
	put := func(l store.Lease, id string, s store.RunState) {
		e.ok(e.PutRun(e.ctx, l.Fence, store.Run{ID: id, Target: l.Key, State: s}))
		e.ok(e.PutPlan(e.ctx, l.Fence, id, "h", &plan.Plan{Target: l.Key}))
		e.ok(e.AddLog(e.ctx, id, []store.LogLine{{Text: "line"}}))
	}
	put(l, "r0", store.RunActive)
	put(other, "s1", store.RunFailed)
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "old"}))
	e.clock.Move(48 * time.Hour)
	for i := range 5 {
		put(l, fmt.Sprint("r", i+1), store.RunSucceeded)
	}
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "new"}))
	e.ok(e.Retain(e.ctx, 3, 24*time.Hour))
	list, _, err := e.Runs(e.ctx, store.RunFilter{})
	e.ok(err)
	var ids []string
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	e.equal("runs", strings.Join(ids, " "), "s1 r5 r4 r3 r0")
	_, _, err = e.Plan(e.ctx, "r1")
	e.missing("plan", err)
	lines, err := e.Log(e.ctx, "r1", 0)
	e.ok(err)
	e.equal("log", len(lines), 0)
	evs, err := e.Events(e.ctx, 0, 10)
	e.ok(err)
	e.equal("events", line(len(evs), evs[0].Kind, evs[5].Kind, evs[6].Kind), "7 run.finished new audit.retained")
	e.sound(0)
	anchor, err := e.AuditAnchor(e.ctx)
	e.ok(err)
	e.equal("the chain begins behind what was dropped", anchor.Seq, evs[0].Seq-1)
	e.equal("an answer that is owed stays", len(e.claim(options("y", 1))[0].Triggers), 1)
}

func backup(e *env) {
	e.ok(e.PutTargets(e.ctx, store.RepositoryState{Name: "infra", Manifests: map[string]string{"m": "1"}}, []store.Target{targetOf("a/1", "branch")}, nil, nil))
	l := e.hold("a/1")
	e.mark(l, "r1", "pending")
	e.record(l, "r1", result("www<&>\u2028", plan.Create, plan.Applied))
	e.equal("claim", e.take(l, "zone", "a/1", "*"), "")
	e.keep(l, "c1", "good", 1, blobID(1))
	_, err := e.PutOutputs(e.ctx, l.Fence, "a/1", map[string]plan.Output{"pw": {Value: json.RawMessage(`"hunter2"`), Sensitive: true}})
	e.ok(err)
	e.ok(e.PutPlan(e.ctx, l.Fence, "r1", "h", &plan.Plan{Target: "a/1", Artefact: []byte("art")}))
	e.ok(e.AddEvent(e.ctx, store.Event{Kind: "one"}))
	for i := range 900 {
		e.trigger(store.ByClock, fmt.Sprintf("t/%d", i))
	}
	secret, err := e.Key(e.ctx, "content")
	e.ok(err)
	_, err = e.PutConfig(e.ctx, "d", []byte("config"), "user:op")
	e.ok(err)
	var file bytes.Buffer
	e.ok(e.Backup(e.ctx, &file))

	cut := gunzip(e, file.Bytes())
	cut = cut[:len(cut)*2/3]
	cut = append(cut[:bytes.LastIndexByte(cut, '\n')], '\n')
	if _, err := e.backend.Restore(e.t, regzip(e, cut), e.clock.Now); err == nil || !strings.Contains(err.Error(), "cut short") {
		e.t.Fatalf("a backup that is cut short: %v", err)
	}
	lines := bytes.SplitAfter(gunzip(e, file.Bytes()), []byte("\n"))
	if _, err := e.backend.Restore(e.t, regzip(e, bytes.Join(append(lines[:9:9], lines[10:]...), nil)), e.clock.Now); err == nil {
		e.t.Fatal("a backup that lacks a row was taken")
	}

	s, err := e.backend.Restore(e.t, file.Bytes(), e.clock.Now)
	e.ok(err)
	e.Store = s
	e.equal("owned", len(e.owned("a/1")), 2)
	e.equal("pending", e.owned("a/1")[key("pending")].Pending, true)
	e.equal("text", string(e.owned("a/1")[key("www<&>\u2028")].LastApplied), `{"ttl":60}`)
	out, err := e.Outputs(e.ctx, "a/1")
	e.ok(err)
	e.equal("output", string(out["pw"].Value), `"hunter2"`)
	p, _, err := e.Plan(e.ctx, "r1")
	e.ok(err)
	e.equal("artefact", string(p.Artefact), "art")
	again, err := e.Key(e.ctx, "content")
	e.ok(err)
	e.equal("key", string(again), string(secret))
	_, err = e.Blob(e.ctx, blobID(1))
	e.ok(err)
	list, err := e.Holds(e.ctx)
	e.ok(err)
	e.equal("only plans until confirmed", line(len(list), list[0].Kind), "1 restore")
	e.fenced("the lease of before", e.PutRun(e.ctx, l.Fence, store.Run{ID: "r9"}))
	o := options("new", 1)
	o.ConfigVersion = 1
	taken := e.claim(o)
	e.equal("the work of before", keysOf(taken), "a/1")
	e.equal("token rises", taken[0].Token > l.Token, true)
}

func gunzip(e *env, b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	e.ok(err)
	out, err := io.ReadAll(z)
	e.ok(err)
	return out
}

func regzip(e *env, b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	e.ok(err)
	e.ok(z.Close())
	return out.Bytes()
}

func secretsAtRest(e *env) {
	const canary = "c4nary-s3cret"
	l := e.hold("a/1")
	value := plan.Output{Value: json.RawMessage(`"` + canary + `"`), Sensitive: true}
	_, err := e.PutOutputs(e.ctx, l.Fence, "a/1", map[string]plan.Output{"o": value})
	e.ok(err)
	e.ok(e.PutPlan(e.ctx, l.Fence, "r1", "h", &plan.Plan{Target: "a/1", Artefact: []byte(canary), Outputs: map[string]plan.Output{"o": value}}))
	secret, err := e.Key(e.ctx, "content")
	e.ok(err)
	var file bytes.Buffer
	e.ok(e.Backup(e.ctx, &file))
	for _, line := range bytes.Split(gunzip(e, file.Bytes()), []byte("\n")) {
		for _, body := range append(bodies(line), line) {
			if bytes.Contains(body, []byte(canary)) || bytes.Contains(body, secret) {
				e.t.Fatalf("a secret is readable in %.80s", line)
			}
		}
	}
}

// bodies gives the binary values of a row, unpacked.
func bodies(line []byte) [][]byte {
	var values []any
	if json.Unmarshal(line, &values) != nil {
		return nil
	}
	var out [][]byte
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			continue
		}
		var b []byte
		if json.Unmarshal([]byte(`"`+s+`"`), &b) != nil {
			continue
		}
		out = append(out, b)
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			if plain, err := io.ReadAll(z); err == nil {
				out = append(out, plain)
			}
		}
	}
	return out
}
