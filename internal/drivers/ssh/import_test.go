package ssh_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// TestImport: what is imported and applied again changes nothing.
func TestImport(t *testing.T) {
	b := newBench(t, "")
	b.put("etc/app.conf", "a = 1\n", 0o640)
	b.put("etc/conf.d/one", "1\n", 0o644)
	b.put("etc/conf.d/bin", "\x00\x01\xff", 0o755)
	b.put("etc/other", "no\n", 0o644)
	if err := os.Symlink("app.conf", b.at("etc/link")); err != nil {
		t.Fatal(err)
	}
	imp := b.open(driver.Read).(driver.Importer)
	got, err := imp.Import(t.Context(), driver.Input{}, []string{hostName, b.at("etc/app.conf"), b.at("etc/conf.d"), b.at("etc/l*"), b.at("none")})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings.Error(), "secret") {
		t.Errorf("%v", got.Warnings)
	}
	b.tree = fstest.MapFS{}
	for name, body := range got.Files {
		b.tree["hosts/"+name] = &fstest.MapFile{Data: body, Mode: 0o644}
	}
	p := b.plan()
	if s := p.Summary(); p.Writes() || s[plan.Adopt] != 5 {
		t.Errorf("%s\n%s", got.Files["host.yaml"], changes(p))
	}
	for name, want := range map[string][]string{"no host": {"nobody", "/etc"}, "nothing": {hostName}, "kind": {hostName, "soul:x"}, "not there": {hostName, b.at("none")}} {
		if got, err := imp.Import(t.Context(), driver.Input{}, want); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
