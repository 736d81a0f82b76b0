package drivertest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func testInfo(b *bench) {
	i := b.h.Driver.Info()
	if i.Name == "" || i.Summary == "" || i.Version == "" {
		b.Errorf("name, summary and version must be given: %+v", i)
	}
	if i.Spec == nil || i.Scope == nil || i.Connect == nil {
		b.Fatal("Spec, Scope and Connect must make new values")
	}
	if i.StopGrace <= 0 {
		b.Error("StopGrace must say how long a cancelled apply may take")
	}
	if !i.Scope().Contains(b.h.Key("one"), "") {
		b.Error("the zero scope must contain everything")
	}
	if (i.Fingerprint == "") != (i.ExactEvery == 0) {
		b.Error("Fingerprint and ExactEvery go together")
	}
}

func testPrepare(b *bench) {
	in := b.input(Objects{"one": "v1", "two": "v2"})
	prep, err := b.h.Driver.Prepare(b.Context(), in)
	if err != nil {
		b.Fatal(err)
	}
	if err := prep.Diagnostics.Err(); err != nil {
		b.Fatal(err)
	}
	got := map[plan.Key]plan.Source{}
	for _, d := range prep.Desired {
		got[d.Key] = d.Source
	}
	for _, name := range []string{"one", "two"} {
		src, ok := got[b.h.Key(name)]
		if !ok {
			b.Errorf("%s is not among the desired objects", b.h.Key(name))
		} else if src.File == "" {
			b.Errorf("%s does not say which file asks for it", b.h.Key(name))
		}
	}
	// What was prepared serves the plan of the same process.
	in.Prepared = prep
	p := b.plan(in)
	b.expect(p, "one", plan.Create)
	b.expect(p, "two", plan.Create)
}

func testBadInput(b *bench) {
	if len(b.h.Bad) == 0 {
		b.Fatal("the harness lists no bad input")
	}
	for _, bad := range b.h.Bad {
		in := b.complete(bad.Input)
		found := validate(in.Spec)
		if found.Err() == nil {
			prep, err := b.h.Driver.Prepare(b.Context(), in)
			if err != nil {
				b.Errorf("%s: a mistake must be a diagnostic, not an error: %v", bad.Name, err)
				continue
			}
			found = prep.Diagnostics
		}
		if found.Err() == nil {
			b.Errorf("%s is not found", bad.Name)
			continue
		}
		if !names(found.Errors(), bad) {
			b.Errorf("%s: no finding names field %q, file %q, line %d:\n%v", bad.Name, bad.Field, bad.File, bad.Line, found)
		}
	}
}

func validate(spec any) plan.Diagnostics {
	if v, ok := spec.(driver.Validator); ok {
		return v.Validate()
	}
	return nil
}

func names(found plan.Diagnostics, bad BadInput) bool {
	for _, d := range found {
		if strings.HasPrefix(d.Field, bad.Field) && (bad.File == "" || d.File == bad.File) && (bad.Line == 0 || d.Line == bad.Line) {
			return d.Message != ""
		}
	}
	return false
}

func testPlanWritesNothing(b *bench) {
	b.world.Set(b, "there", "v1")
	b.plan(b.input(Objects{"one": "v1", "there": "v2"}))
	b.is(Objects{"there": "v1"})
	b.sync(Objects{"one": "v1"})
	b.plan(b.input(Objects{"two": "v1"}))
	b.is(Objects{"there": "v1", "one": "v1"})
}

func testPlanIsDeterministic(b *bench) {
	b.sync(Objects{"one": "v1", "two": "v1", "three": "v1"})
	in := b.input(Objects{"one": "v2", "two": "v1", "four": "v1", "five": "v1"})
	plan := func() []byte {
		p := b.plan(in)
		p.Artefact = nil // opaque, and left out of the hash
		return encode(b, p)
	}
	first := plan()
	for range 5 {
		if again := plan(); !bytes.Equal(first, again) {
			b.Fatalf("two plans of the same state differ:\n%s\n%s", first, again)
		}
	}
}

func encode(b *bench, p *plan.Plan) []byte {
	raw, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func testPlanAfterApplyIsEmpty(b *bench) {
	states := []Objects{
		{"one": "v1", "two": "v1"},
		{"one": "v2", "two": "v1", "three": "v1"},
		{"three": "v3"},
		{"one": "v1", "two": "v2", "three": "v3"},
	}
	for _, want := range states {
		if p := b.sync(want); p.Empty() {
			b.Fatal("nothing was planned")
		}
		b.is(want)
		b.settled(want)
		if len(b.plan(b.input(want)).Scopes) == 0 {
			b.Fatal("a plan must list the scopes it looked at")
		}
	}
}

func testThroughJSON(b *bench) {
	b.sync(Objects{"one": "v1", "two": "v1"})
	want := Objects{"one": "v2", "three": "v1"}
	in := b.input(want)
	p := b.copyOf(b.plan(in))
	if err := p.Mask(func(v []byte) string { return "0123456789abcdef" }); err != nil {
		b.Fatal(err)
	}
	b.mustApply(in, p)
	b.is(want)
	b.settled(want)
}

// testConcurrent plans in many goroutines over one session; the race detector
// watches.
func testConcurrent(b *bench) {
	b.sync(Objects{"one": "v1"})
	s := b.open(driver.Read)
	in := b.input(Objects{"one": "v2", "two": "v1"})
	var wg sync.WaitGroup
	got := make([]int, 8)
	for i := range got {
		wg.Go(func() {
			p, err := s.Plan(b.Context(), in)
			if err != nil {
				b.Errorf("plan: %v", err)
				return
			}
			got[i] = len(p.Changes)
		})
	}
	wg.Wait()
	for _, n := range got {
		if n != got[0] || n == 0 {
			b.Fatalf("concurrent plans have different numbers of changes: %v", got)
		}
	}
}
