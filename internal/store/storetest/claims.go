package storetest

import (
	"errors"
	"strings"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("claims/addresses and prefixes", claimRules)
	register("claims/all or nothing", allOrNothing)
	register("claims/released", released)
}

// take claims addresses in a realm for a target, and gives who is in the way.
func (e *env) take(l store.Lease, realm, target string, addresses ...string) string {
	e.t.Helper()
	claims := make([]store.Claim, len(addresses))
	for i, a := range addresses {
		claims[i] = store.Claim{Realm: realm, Address: plan.Address(a), Target: target}
	}
	conflicts, err := e.TakeClaims(e.ctx, l.Fence, claims)
	if err == nil {
		e.equal("conflicts without an error", len(conflicts), 0)
		return ""
	}
	if !errors.Is(err, store.ErrConflict) {
		e.t.Fatal(err)
	}
	var who []string
	for _, c := range conflicts {
		who = append(who, c.Target+":"+string(c.Address))
	}
	return strings.Join(who, " ")
}

func claimRules(e *env) {
	l := e.hold("a/1")
	e.equal("free", e.take(l, "zone", "one", "www/A", "mail/A", "team-a/*"), "")
	e.equal("again", e.take(l, "zone", "one", "www/A", "mail/A", "team-a/*"), "")
	e.equal("a part of it", e.take(l, "zone", "one", "www/A"), "")
	e.equal("taken", e.take(l, "zone", "two", "www/A"), "one:www/A")
	e.equal("another realm", e.take(l, "zone2", "two", "www/A"), "")
	e.equal("below a prefix", e.take(l, "zone", "two", "team-a/www"), "one:team-a/*")
	e.equal("beside a prefix", e.take(l, "zone", "two", "team-b/www"), "")
	e.equal("above addresses", e.take(l, "zone", "two", "ma*"), "one:mail/A")
	e.equal("above a prefix", e.take(l, "zone", "two", "team-a*"), "one:team-a/*")
	e.equal("within a prefix", e.take(l, "zone", "two", "team-a/x/**"), "one:team-a/*")
	e.equal("the same prefix", e.take(l, "zone", "two", "team-a/**"), "one:team-a/*")
	e.equal("everything", e.take(l, "zone", "two", "*"), "one:mail/A one:team-a/* one:www/A")
	e.equal("everything in a free realm", e.take(l, "zone3", "two", "*"), "")
	e.equal("nothing is left there", e.take(l, "zone3", "one", "x"), "two:*")
	e.equal("an own prefix over own addresses", e.take(l, "zone", "two", "team-b/*"), "")
	e.equal("a wildcard name is no prefix", e.take(l, "zone4", "one", "*.example.com./A"), "")
	e.equal("and collides with nothing else", e.take(l, "zone4", "two", "www.example.com./A"), "")
}

func allOrNothing(e *env) {
	l := e.hold("a/1")
	e.equal("first", e.take(l, "zone", "one", "b"), "")
	e.equal("in the way", e.take(l, "zone", "two", "a", "b", "c"), "one:b")
	e.equal("nothing was taken", e.take(l, "zone", "three", "a", "c"), "")
	stale := l
	stale.Token--
	_, err := e.TakeClaims(e.ctx, stale.Fence, []store.Claim{{Realm: "zone", Address: "d", Target: "two"}})
	e.fenced("stale", err)
	e.equal("nothing was taken", e.take(l, "zone", "three", "d"), "")
}

func released(e *env) {
	e.ok(e.PutTargets(e.ctx, store.RepositoryState{Name: "infra"}, []store.Target{{ID: "a/1"}, {ID: "a/2"}}, nil, nil))
	one, two := e.hold("a/1"), e.hold("a/2")
	realm := zoneRealm["z"]
	e.equal("taken", e.take(one, realm, "a/1", "x", "y", "z"), "")
	e.record(one, "r1", result("x", plan.Create, plan.Applied), result("y", plan.Create, plan.Applied), result("z", plan.Create, plan.Applied))
	e.record(one, "r2", result("x", plan.Delete, plan.Applied), result("y", plan.Forget, plan.Applied))
	e.equal("released", e.take(two, realm, "a/2", "x", "y"), "")
	e.equal("not released", e.take(two, realm, "a/2", "z"), "a/1:z")
	e.equal("and not remembered as held", e.take(one, realm, "a/1", "x", "y", "z"), "a/2:x a/2:y")
	e.ok(e.SetState(e.ctx, "a/1", store.Retired))
	e.equal("retired", e.take(two, realm, "a/2", "z"), "")
}
