//go:build real

package tofu_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func TestLife(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two") + "output \"ip\" {\n  value = things_thing.a.address\n}\n")
		p := r.plan()
		if got := actions(p); got != "create(spec) output.ip, create(spec) things_thing.a, create(spec) things_thing.b" {
			t.Fatal(got)
		}
		if c := find(t, p, "things_thing.a"); c.Source.File != "net/main.tf" || c.Source.Line != 6 || len(c.Unknown) != 2 {
			t.Errorf("%+v", c)
		}
		if o := p.Outputs["ip"]; !o.Unknown || len(o.Value) > 0 {
			t.Errorf("before the apply the output is %+v", o)
		}
		if len(r.things.All()) != 0 {
			t.Fatal("planning wrote something")
		}
		r.apply()
		if want := map[string]string{"alpha": "one", "beta": "two"}; !maps.Equal(r.there(), want) {
			t.Fatalf("on the server is %v", r.there())
		}
		if o := r.plan().Outputs["ip"]; o.Unknown || string(o.Value) != `"`+r.things.All()["alpha"].Address+`"` {
			t.Errorf("after the apply the output is %+v", o)
		}
		known := 0
		for _, o := range r.inv {
			if strings.HasPrefix(o.Hash, "lineage:") {
				known++
			}
		}
		if known == 0 {
			t.Error("the state's lineage is not in the inventory")
		}

		r.main(thing("a", "alpha", "changed") + thing("b", "gamma", "two"))
		p = r.apply()
		if got := actions(p); got != "delete(prune) output.ip, update(spec) things_thing.a, replace(spec) things_thing.b" {
			t.Error(got)
		}
		if im := p.Impact()["resource"]; im.Update != 1 || im.Replace != 1 {
			t.Errorf("impact %+v", im)
		}
		if c := find(t, p, "things_thing.b"); !strings.Contains(c.Note, "name") {
			t.Errorf("the note of a replace is %q", c.Note)
		}
		if want := map[string]string{"alpha": "changed", "gamma": "two"}; !maps.Equal(r.there(), want) {
			t.Fatalf("on the server is %v", r.there())
		}

		r.main(thing("a", "alpha", "changed") + thing("c", "gamma", "two") + "moved {\n  from = things_thing.b\n  to   = things_thing.c\n}\n")
		p = r.apply()
		if c := find(t, p, "things_thing.c"); c.Action != plan.Rename || c.From != "things_thing.b" || len(p.Changes) != 1 {
			t.Error(actions(p))
		}
		if _, old := r.inv[plan.Key{Address: "things_thing.b"}]; old {
			t.Error("the old address is still owned")
		}

		r.mode = plan.Destroy
		p = r.plan()
		if im := p.Impact()["resource"]; im.Delete != 2 {
			t.Fatalf("destroy: %s", actions(p))
		}
		if err := r.applyWith(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if len(r.things.All()) != 0 || len(r.inv) != 0 {
			t.Errorf("left over: %v, owned %v", r.there(), r.inv)
		}
	})
}

func TestDriftApartFromIntent(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two") + thing("c", "gamma", "three"))
		r.apply()
		r.things.Set("alpha", "by hand")
		r.things.Unset("beta")
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two") + thing("c", "gamma", "new"))
		p := r.apply()
		if got := actions(p); got != "update(drift) things_thing.a, create(drift) things_thing.b, update(spec) things_thing.c" {
			t.Error(got)
		}
		if want := map[string]string{"alpha": "one", "beta": "two", "gamma": "new"}; !maps.Equal(r.there(), want) {
			t.Errorf("on the server is %v", r.there())
		}
		r.things.Set("alpha", "by hand")
		r.spec.RefreshOnly = true
		before := r.things.Writes("")
		p = r.plan()
		if got := actions(p); got != "update(drift) things_thing.a" {
			t.Error(got)
		}
		if err := r.applyWith(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if r.things.Writes("") != before || r.there()["alpha"] != "by hand" {
			t.Error("a refresh-only run wrote to the infrastructure")
		}
		if p := r.plan(); !p.Empty() {
			t.Errorf("after the refresh: %s", actions(p))
		}
	})
}

func TestStalePlanIsRefused(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		r.apply()
		r.main(thing("a", "alpha", "two"))
		old := r.plan()
		r.main(thing("a", "alpha", "three"))
		r.apply()
		r.main(thing("a", "alpha", "two"))
		err := r.applyWith(context.Background(), old)
		if !errors.Is(err, driver.ErrStale) {
			t.Fatalf("a stale plan gave %v", err)
		}
		if r.there()["alpha"] != "three" {
			t.Error("a stale plan was applied")
		}
		for _, o := range r.inv {
			if o.Pending {
				t.Errorf("%s stays pending though nothing was begun", o.Key)
			}
		}
	})
}

func TestPartialFailure(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two") +
			"resource \"things_thing\" \"c\" {\n  name = \"gamma\"\n  value = things_thing.b.address\n}\n")
		mend := r.things.Block("beta")
		p := r.plan()
		if err := r.applyWith(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		got := map[string]plan.Outcome{}
		for _, res := range r.journal.Results() {
			got[string(res.Address)] = res.Outcome
			if strings.Contains(res.Error, canaryToken) || res.Outcome != plan.Applied && res.Error == "" {
				t.Errorf("%s: %q", res.Address, res.Error)
			}
		}
		want := map[string]plan.Outcome{"things_thing.a": plan.Applied, "things_thing.b": plan.Failed, "things_thing.c": plan.Skipped}
		if !maps.Equal(got, want) {
			t.Fatalf("outcomes %v\n%s", got, r.journal.Log())
		}
		mend()
		r.apply()
		if len(r.there()) != 3 {
			t.Errorf("on the server is %v", r.there())
		}
	})
}

func TestStateOfAnotherLineageIsHeld(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		r.apply()
		r.connect.Backend.LocalState += "-elsewhere"
		p := r.plan()
		if c := find(t, p, "things_thing.a"); !strings.Contains(c.Conflict, "lost") {
			t.Errorf("a lost state is planned as %+v", c)
		}
		if p.Scopes[0].Realm == "" || p.Scopes[0].Realm == "state" {
			t.Errorf("realm %q", p.Scopes[0].Realm)
		}
		r.inv[plan.Key{Address: "things_thing.a"}] = driver.Owned{Key: plan.Key{Address: "things_thing.a"}, Kind: "things_thing", Hash: "lineage:other"}
		r.connect.Backend.LocalState = strings.TrimSuffix(r.connect.Backend.LocalState, "-elsewhere")
		r.main(thing("a", "alpha", "two"))
		if c := find(t, r.plan(), "things_thing.a"); !strings.Contains(c.Conflict, "lineage") {
			t.Errorf("another lineage is planned as %+v", c)
		}
	})
}

func TestAddOnly(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two"))
		r.apply()
		r.main(thing("b", "other", "two") + thing("c", "gamma", "three"))
		r.mode = plan.AddOnly
		p := r.plan()
		if got := actions(p); got != "create(spec) things_thing.c" {
			t.Fatal(got)
		}
		if err := r.applyWith(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"alpha": "one", "beta": "two", "gamma": "three"}; !maps.Equal(r.there(), want) {
			t.Errorf("on the server is %v", r.there())
		}
	})
}

func TestPlanThroughJSONInAFreshSession(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		p := r.plan()
		if err := p.Mask(nil); err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q plan.Plan
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatal(err)
		}
		if err := r.applyWith(context.Background(), &q); err != nil {
			t.Fatal(err)
		}
		if r.there()["alpha"] != "one" {
			t.Error("nothing was applied")
		}
	})
}
