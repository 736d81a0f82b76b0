package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("inventory/journal", journal)
	register("inventory/unknown outcomes", unknownOutcomes)
	register("inventory/rename of an object", renamedObject)
	register("inventory/who owns", whoOwns)
	register("inventory/a hundred thousand", hundredThousand)
}

var zoneRealm = map[plan.Scope]string{"z": "dns://ns/z"}

func key(address string) plan.Key { return plan.Key{Scope: "z", Address: plan.Address(address)} }

func result(address string, a plan.Action, o plan.Outcome) plan.Result {
	return plan.Result{Key: key(address), Kind: "rrset", Action: a, Outcome: o, Hash: "h-" + address, Class: "record", Weight: 2,
		LastApplied: json.RawMessage(`{"ttl":60}`), Source: plan.Source{File: "zone", Line: 3, Column: 1}}
}

func (e *env) mark(l store.Lease, run string, addresses ...string) {
	e.t.Helper()
	keys := make([]plan.Key, len(addresses))
	for i, a := range addresses {
		keys[i] = key(a)
	}
	e.ok(e.MarkPending(e.ctx, l.Fence, l.Key, run, zoneRealm, keys))
}

func (e *env) record(l store.Lease, run string, r ...plan.Result) {
	e.t.Helper()
	e.ok(e.Record(e.ctx, l.Fence, l.Key, run, zoneRealm, r))
}

func (e *env) owned(target string) driver.Inventory {
	e.t.Helper()
	inv, err := e.Owned(e.ctx, target)
	e.ok(err)
	return inv
}

func journal(e *env) {
	l := e.hold("a/1")
	e.mark(l, "r1", "new", "other", "other")
	inv := e.owned("a/1")
	e.equal("pending entries", len(inv), 2)
	e.equal("pending", inv[key("new")].Pending, true)
	e.equal("realm", inv[key("new")].Realm, "dns://ns/z")
	e.record(l, "r1", result("new", plan.Create, plan.Applied), result("other", plan.Create, plan.Failed), result("equal", plan.Adopt, plan.Applied))
	inv = e.owned("a/1")
	e.equal("owned", len(inv), 2)
	got, want := fmt.Sprintf("%+v", inv[key("new")]), fmt.Sprintf("%+v", driver.Owned{Key: key("new"), Kind: "rrset", Class: "record", Weight: 2,
		Realm: "dns://ns/z", Hash: "h-new", LastApplied: json.RawMessage(`{"ttl":60}`), Source: plan.Source{File: "zone", Line: 3, Column: 1}})
	e.equal("entry", got, want)

	e.mark(l, "r2", "new", "equal")
	e.record(l, "r2", result("new", plan.Update, plan.Failed), result("equal", plan.Delete, plan.Skipped))
	inv = e.owned("a/1")
	e.equal("a failed update stays owned", inv[key("new")].Hash, "h-new")
	e.equal("and not pending", inv[key("new")].Pending || inv[key("equal")].Pending, false)
	e.mark(l, "r3", "new")
	e.record(l, "r3", result("new", plan.Delete, plan.Applied), result("equal", plan.Forget, plan.Applied))
	e.equal("gone", len(e.owned("a/1")), 0)

	stale := l.Fence
	stale.Token--
	e.fenced("mark", e.MarkPending(e.ctx, stale, "a/1", "r4", zoneRealm, []plan.Key{key("x")}))
	e.fenced("record", e.Record(e.ctx, stale, "a/1", "r4", zoneRealm, []plan.Result{result("x", plan.Create, plan.Applied)}))
	e.equal("a stale fence changes nothing", len(e.owned("a/1")), 0)
}

func unknownOutcomes(e *env) {
	l := e.hold("a/1")
	e.mark(l, "r1", "maybe", "killed", "had")
	e.record(l, "r1", result("maybe", plan.Create, plan.Unknown), result("had", plan.Create, plan.Applied))
	// r1 is killed here. r2 tries again, and surely fails.
	e.mark(l, "r2", "maybe", "killed", "had")
	e.record(l, "r2", result("maybe", plan.Create, plan.Failed), result("killed", plan.Create, plan.Failed), result("had", plan.Update, plan.Unknown))
	inv := e.owned("a/1")
	e.equal("what r1 may have made stays", inv[key("maybe")].Pending && inv[key("killed")].Pending, true)
	e.equal("an unknown update", inv[key("had")].Pending, true)
	e.record(l, "r3", result("maybe", plan.Adopt, plan.Applied), result("killed", plan.Forget, plan.Applied), result("had", plan.None, plan.Applied))
	inv = e.owned("a/1")
	e.equal("resolved", len(inv), 2)
	for k, o := range inv {
		e.equal("pending "+string(k.Address), o.Pending, false)
	}
	e.record(l, "r4", result("unmarked", plan.Create, plan.Unknown))
	e.equal("an unknown outcome without a mark", e.owned("a/1")[key("unmarked")].Pending, true)
}

func renamedObject(e *env) {
	l := e.hold("a/1")
	e.record(l, "r1", result("old", plan.Create, plan.Applied))
	e.mark(l, "r2", "new", "old")
	r := result("new", plan.Rename, plan.Failed)
	r.From = "old"
	e.record(l, "r2", r)
	inv := e.owned("a/1")
	e.equal("failed", len(inv), 1)
	e.equal("still there", inv[key("old")].Pending, false)
	r.Outcome = plan.Applied
	e.record(l, "r3", r)
	inv = e.owned("a/1")
	_, ok := inv[key("new")]
	e.equal("renamed", ok && len(inv) == 1, true)
}

func whoOwns(e *env) {
	e.ok(e.PutTargets(e.ctx, store.RepositoryState{Name: "infra"}, []store.Target{
		{ID: "a/1", Repository: "infra", Environment: "dns"}, {ID: "a/2", Repository: "infra", Environment: "other"}}, nil, nil))
	one, two := e.hold("a/1"), e.hold("a/2")
	e.record(one, "r1", result("www", plan.Create, plan.Applied))
	e.record(two, "r2", result("www", plan.Create, plan.Applied))
	owners, err := e.WhoOwns(e.ctx, "dns", "www")
	e.ok(err)
	e.equal("owners", len(owners), 1)
	e.equal("owner", owners[0].Target+owners[0].Run+owners[0].Hash, "a/1r1h-www")
}

func hundredThousand(e *env) {
	const n = 100_000
	l := e.hold("a/1")
	start := time.Now()
	results := make([]plan.Result, 0, n)
	claims := make([]store.Claim, 0, n)
	for i := range n {
		results = append(results, result(fmt.Sprintf("host-%06d.example.com./A", i), plan.Create, plan.Applied))
		claims = append(claims, store.Claim{Realm: "dns://ns/z", Address: results[i].Address, Target: "a/1"})
	}
	took := func(what string, most time.Duration) {
		e.t.Helper()
		d := time.Since(start)
		e.t.Logf("%s of %d: %v", what, n, d.Round(time.Millisecond))
		if d > most {
			e.t.Errorf("%s took %v, more than %v", what, d, most)
		}
		start = time.Now()
	}
	e.ok(e.PutTargets(e.ctx, store.RepositoryState{Name: "infra"}, []store.Target{{ID: "a/1"}}, nil, nil))
	took("made", time.Minute)
	for at := 0; at < n; at += 5000 {
		e.record(l, "r1", results[at:at+5000]...)
	}
	took("recorded", 30*time.Second)
	e.equal("owned", len(e.owned("a/1")), n)
	took("read", 5*time.Second)
	_, err := e.TakeClaims(e.ctx, l.Fence, claims)
	e.ok(err)
	took("claimed", 30*time.Second)
	_, err = e.TakeClaims(e.ctx, l.Fence, claims)
	e.ok(err)
	took("claimed again", 3*time.Second)
	_, err = e.TakeClaims(e.ctx, l.Fence, append(claims, store.Claim{Realm: "dns://ns/z", Address: "new", Target: "a/1"}))
	e.ok(err)
	took("claimed one more", 6*time.Second)
	var gone []plan.Result
	for _, r := range results[:1000] {
		r.Action = plan.Delete
		gone = append(gone, r)
	}
	e.record(l, "r2", gone...)
	took("1000 deleted", 6*time.Second)
	conflicts, err := e.TakeClaims(e.ctx, l.Fence, []store.Claim{{Realm: "dns://ns/z", Address: "*", Target: "a/2"}})
	e.equal("the realm is taken", errors.Is(err, store.ErrConflict), true)
	e.equal("conflicts shown", len(conflicts), 100)
	took("conflict", 2*time.Second)
}
