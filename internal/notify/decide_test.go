package notify

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/store"
)

func synced() store.Status  { return store.Status{Phase: store.Synced} }
func failing() store.Status { return store.Status{Phase: store.Failing} }
func held(gate, hash string) store.Status {
	return store.Status{Phase: store.Held, Gate: gate, PlanHash: hash}
}
func drifted(hash string) store.Status {
	return store.Status{Phase: store.OutOfSync, Gate: "drift", PlanHash: hash, Drift: 1}
}

// Each story is what a target goes through, run by run, and the messages that
// people get.
func TestDecide(t *testing.T) {
	partial := store.Status{Phase: store.Partial}
	fixed := func(run string) store.Status { return store.Status{Phase: store.Synced, Run: run, Corrected: 2} }
	for name, c := range map[string]struct {
		story []store.Status
		want  string
	}{
		"all well":              {[]store.Status{{}, synced(), synced()}, ""},
		"held once":             {[]store.Status{synced(), held("guard", "a"), held("guard", "a"), held("guard", "a")}, "held"},
		"held again":            {[]store.Status{synced(), held("guard", "a"), held("guard", "b")}, "held held"},
		"same plan, other gate": {[]store.Status{synced(), held("guard", "a"), held("approval", "a")}, "held"},
		"held then approved":    {[]store.Status{synced(), held("approval", "a"), synced()}, "held recovered"},
		"frozen":                {[]store.Status{synced(), held("freeze", "a"), synced()}, ""},
		"waits for another":     {[]store.Status{synced(), held("dependency", ""), synced()}, ""},
		"from freeze to guard":  {[]store.Status{synced(), held("freeze", "a"), held("guard", "a")}, "held"},
		"without a plan":        {[]store.Status{synced(), held("scope", ""), held("scope", ""), held("restore", "")}, "held held"},
		"failed once":           {[]store.Status{synced(), failing(), failing(), partial, failing()}, "failed"},
		"failed from the start": {[]store.Status{{}, failing(), synced()}, "failed recovered"},
		"failed twice":          {[]store.Status{synced(), failing(), synced(), failing(), synced()}, "failed recovered failed recovered"},
		"failed, then held":     {[]store.Status{synced(), failing(), held("guard", "a"), synced()}, "failed held recovered"},
		"drift reported":        {[]store.Status{synced(), drifted("a"), drifted("a"), drifted("b"), synced()}, "drift drift"},
		"drift, then held":      {[]store.Status{synced(), drifted("a"), held("guard", "a")}, "drift held"},
		"drift corrected":       {[]store.Status{synced(), fixed("r1"), fixed("r1"), synced(), fixed("r2")}, "drift drift"},
		"flapping":              {[]store.Status{synced(), held("flapping", "a"), held("flapping", "a"), synced()}, "flapping recovered"},
		"running":               {[]store.Status{synced(), {Phase: store.Running}}, ""},
	} {
		var got []string
		for i := 1; i < len(c.story); i++ {
			got = append(got, Decide(c.story[i-1], c.story[i])...)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// A retry that ends as the one before says nothing, and no message comes twice
// from one transition.
func TestDecideProperties(t *testing.T) {
	status := rapid.Custom(func(t *rapid.T) store.Status {
		return store.Status{
			Phase: rapid.SampledFrom([]store.Phase{store.Pending, store.Synced, store.OutOfSync, store.Held, store.Failing, store.Partial, store.Running}).Draw(t, "phase"),
			Gate:  rapid.SampledFrom([]string{"", "guard", "approval", "window", "freeze", "flapping", "drift"}).Draw(t, "gate"),
			Run:   rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "run"), PlanHash: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "hash"),
			Corrected: rapid.IntRange(0, 1).Draw(t, "corrected"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		prev, now := status.Draw(t, "prev"), status.Draw(t, "now")
		if again := Decide(now, now); len(again) > 0 {
			t.Fatalf("the same again gives %v", again)
		}
		got := Decide(prev, now)
		if sorted := slices.Sorted(slices.Values(got)); len(slices.Compact(sorted)) != len(got) {
			t.Fatalf("%v", got)
		}
		if slices.Contains(got, Recovered) && now.Phase != store.Synced {
			t.Fatalf("recovered into %s", now.Phase)
		}
	})
}
