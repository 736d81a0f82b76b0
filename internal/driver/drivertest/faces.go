package drivertest

import (
	"maps"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// canary is a secret that must show up nowhere.
const canary = "canary-7f3a-do-not-show"

// testSecrets runs a whole life with a secret in the desired state: plan,
// apply, drift, a failed journal, destroy. The bench listens to everything.
func testSecrets(b *bench) {
	if b.h.SecretInput == nil {
		if len(b.canaries) == 0 {
			b.Fatal("the harness has no secret, neither in the desired state nor in the connection: give one or opt out")
		}
		b.sync(Objects{"one": "v1"})
		return
	}
	b.canaries = append(b.canaries, canary)
	in := b.complete(b.h.SecretInput(b, canary))
	p := b.plan(in)
	b.mustApply(in, p)
	in = b.complete(b.h.SecretInput(b, canary))
	if p := b.plan(in); !p.Empty() {
		b.Errorf("the plan after apply is not empty:\n%s", show(p))
	}
	in = b.complete(b.h.SecretInput(b, canary+"-2"))
	p = b.plan(in)
	if p.Empty() {
		b.Error("a changed secret is not noticed")
	}
	j := NewJournal(b.inventory, p)
	j.OnDone = func([]plan.Result) error { return errKilled }
	_ = b.apply(in, p, j)
	in = b.complete(b.h.SecretInput(b, canary))
	in.Mode = plan.Destroy
	b.mustApply(in, b.plan(in))
}

func testFingerprint(b *bench) {
	want := Objects{"one": "v1", "two": "v1"}
	b.sync(want)
	if b.h.Driver.Info().Fingerprint == "" {
		if _, ok := b.open(driver.Read).(driver.Fingerprinter); ok {
			b.Error("there is a Fingerprinter, but Info does not say what it is worth")
		}
		return
	}
	first := b.fingerprint(want)
	if again := b.fingerprint(want); !maps.Equal(first, again) {
		b.Fatalf("the fingerprint of an unchanged environment moved: %v, %v", first, again)
	}
	b.world.Set(b, "one", "v2")
	if now := b.fingerprint(want); maps.Equal(first, now) {
		b.Error("a change by hand leaves the fingerprint as it was")
	}
	b.sync(want)
	before := b.fingerprint(want)
	b.world.Unset(b, "two")
	if now := b.fingerprint(want); maps.Equal(before, now) {
		b.Error("a removal by hand leaves the fingerprint as it was")
	}
}

func (b *bench) fingerprint(want Objects) map[plan.Scope]string {
	b.Helper()
	f, ok := b.open(driver.Read).(driver.Fingerprinter)
	if !ok {
		b.Fatal("Info has a fingerprint, but the session is no Fingerprinter")
	}
	out, err := f.Fingerprint(b.Context(), b.input(want))
	if err != nil {
		b.Fatalf("fingerprint: %v", err)
	}
	if len(out) == 0 {
		b.Fatal("there is no fingerprint for any scope")
	}
	return out
}

// testImport writes the live state as desired files and plans with them: all
// of it is adopted, nothing is written.
func testImport(b *bench) {
	imp, ok := b.open(driver.Read).(driver.Importer)
	if !ok {
		b.Log("the session is no Importer")
		return
	}
	b.world.Set(b, "one", "v1")
	b.world.Set(b, "two", "v2")
	in := b.input(Objects{"one": "v1"})
	got, err := imp.Import(b.Context(), in, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := got.Warnings.Err(); err != nil {
		b.Fatal(err)
	}
	tree := fstest.MapFS{}
	for name, content := range got.Files {
		tree[name] = &fstest.MapFile{Data: content, Mode: 0o644}
	}
	in.Tree = tree
	if got.Spec != nil {
		in.Spec = got.Spec
	}
	p := b.plan(in)
	b.expect(p, "one", plan.Adopt)
	b.expect(p, "two", plan.Adopt)
	if p.Writes() {
		b.Errorf("an import plans writes:\n%s", show(p))
	}
}
