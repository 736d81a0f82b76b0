package stage_test

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

func key(a plan.Address) plan.Key { return plan.Key{Address: a} }

var hookKey = key("Job.batch/web/migrate")

func hookPlan(others ...plan.Change) *plan.Plan {
	return &plan.Plan{Changes: append(others, plan.Change{Key: hookKey, Action: plan.Create, Reason: plan.BySpec})}
}

func change(a plan.Action, r plan.Reason) plan.Change {
	c := plan.Change{Key: key("ConfigMap/web/x"), Action: a, Reason: r}
	if a != plan.Create {
		c.Before = []byte("{}")
	}
	return c
}

func TestWhenHooksRun(t *testing.T) {
	always := stage.Hook{Install: stage.PreSync, Upgrade: stage.PreSync}
	install := stage.Hook{Install: stage.PostSync}
	upgrade := stage.Hook{Upgrade: stage.PostSync}
	failing := stage.Hook{Install: stage.SyncFail, Upgrade: stage.SyncFail}
	installed := driver.Owned{Key: key("ConfigMap/web/x"), Hash: "1"}
	ran := func(hash string, pending bool) driver.Owned {
		return driver.Owned{Key: hookKey, Class: stage.HookClass, Hash: hash, Pending: pending}
	}
	for name, c := range map[string]struct {
		hook    stage.Hook
		owned   []driver.Owned
		changes []plan.Change
		want    bool
	}{
		"first apply":                         {always, nil, []plan.Change{change(plan.Create, plan.BySpec)}, true},
		"nothing else to do":                  {always, []driver.Owned{installed}, nil, false},
		"adoption":                            {always, nil, []plan.Change{change(plan.Adopt, plan.BySpec)}, false},
		"drift":                               {always, []driver.Owned{installed, ran("old", false)}, []plan.Change{change(plan.Update, plan.ByDrift)}, false},
		"a new state":                         {always, []driver.Owned{installed, ran("old", false)}, []plan.Change{change(plan.Update, plan.BySpec)}, true},
		"only a deletion":                     {always, []driver.Owned{installed, ran("old", false)}, []plan.Change{change(plan.Delete, plan.ByPrune)}, true},
		"it ran for this state":               {always, []driver.Owned{installed, ran("now", false)}, []plan.Change{change(plan.Update, plan.BySpec)}, false},
		"it failed for this state":            {always, []driver.Owned{installed, ran("old", true)}, nil, true},
		"it never got to its end":             {always, []driver.Owned{installed, ran("", true)}, nil, true},
		"it failed for another state":         {always, []driver.Owned{installed, ran("now", true)}, nil, false},
		"install hook, first time":            {install, nil, []plan.Change{change(plan.Create, plan.BySpec)}, true},
		"install hook, later":                 {install, []driver.Owned{installed}, []plan.Change{change(plan.Update, plan.BySpec)}, false},
		"install hook, cut off":               {install, []driver.Owned{installed, ran("", true)}, nil, true},
		"install hook, objects are there":     {install, nil, []plan.Change{change(plan.Update, plan.BySpec)}, false},
		"install hook, only the namespace is": {install, nil, []plan.Change{{Key: key("Namespace/web"), Action: plan.Adopt, Before: []byte("{}")}, change(plan.Create, plan.BySpec)}, true},
		"upgrade hook, first time":            {upgrade, nil, []plan.Change{change(plan.Create, plan.BySpec)}, false},
		"upgrade hook, later":                 {upgrade, []driver.Owned{installed}, []plan.Change{change(plan.Update, plan.BySpec)}, true},
		"a failed sync's, alone":              {failing, []driver.Owned{installed, ran("", true)}, nil, false},
		"a failed sync's":                     {failing, []driver.Owned{installed}, []plan.Change{change(plan.Update, plan.BySpec)}, true},
		"only a left hook goes": {always, []driver.Owned{installed, {Key: key("Job.batch/web/old"), Class: stage.HookClass, Hash: "x"}},
			[]plan.Change{{Key: key("Job.batch/web/old"), Action: plan.Delete, Reason: plan.ByPrune, Before: []byte("{}")}}, false},
	} {
		owned := driver.Inventory{}
		for _, o := range c.owned {
			owned[o.Key] = o
		}
		p := hookPlan(c.changes...)
		stage.Settle(p, owned, "now", map[plan.Key]stage.Hook{hookKey: c.hook})
		left := p.Changes[len(c.changes):]
		if got := len(left) == 1; got != c.want {
			t.Errorf("%s: it runs: %v", name, got)
		}
		if len(left) == 1 && !strings.HasPrefix(left[0].Note, "runs as a hook") {
			t.Errorf("%s: nothing says that it is a hook: %q", name, left[0].Note)
		}
	}
}

func TestDigest(t *testing.T) {
	a, b := *object("ConfigMap", "a", nil), *object("ConfigMap", "b", nil)
	sum := func(key string, list ...manifest.Object) string {
		s, err := stage.Digest([]byte(key), list)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if sum("k", a, b) != sum("k", b, a) {
		t.Error("the order counts")
	}
	changed := *object("ConfigMap", "b", map[string]string{"x": "y"})
	for _, other := range []string{sum("k", a), sum("k", a, changed), sum("l", a, b)} {
		if other == sum("k", a, b) {
			t.Error("two states have one digest")
		}
	}
}

func TestSpare(t *testing.T) {
	keep, confirm := stage.Marks{Keep: "a: b"}, stage.Marks{Confirm: "c: d"}
	removal := func(a plan.Action, seen ...stage.Marks) plan.Change {
		c := plan.Change{Action: a, Impact: []plan.Impact{{Class: "object", Delete: 1}}}
		stage.Spare(&c, seen...)
		return c
	}
	if c := removal(plan.Delete, stage.Marks{}, stage.Marks{}); c.Action != plan.Delete || c.Conflict != "" {
		t.Errorf("%+v", c)
	}
	// The live object or the one last applied: either is enough.
	for _, seen := range [][]stage.Marks{{keep, {}}, {{}, keep}, {confirm, keep}} {
		if c := removal(plan.Delete, seen...); c.Action != plan.Forget || c.Impact != nil || c.Conflict != "" || !strings.Contains(c.Note, "a: b") {
			t.Errorf("%+v", c)
		}
	}
	for _, seen := range [][]stage.Marks{{confirm, {}}, {{}, confirm}} {
		if c := removal(plan.Delete, seen...); c.Action != plan.Delete || !strings.Contains(c.Conflict, "c: d") {
			t.Errorf("%+v", c)
		}
	}
	for _, m := range []stage.Marks{keep, confirm} {
		if c := removal(plan.Replace, m); c.Action != plan.Replace || c.Conflict == "" {
			t.Errorf("%+v", c)
		}
		if c := removal(plan.Update, m); c.Action != plan.Update || c.Conflict != "" {
			t.Errorf("%+v", c)
		}
	}
}
