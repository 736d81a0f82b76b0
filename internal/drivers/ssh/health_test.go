package ssh_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// systemctl stands in for the real one: the file of a unit's name says when it
// became active.
const systemctl = `#!/bin/sh
dir=${0%/*}
for u; do :; done
if [ -f "$dir/$u" ]; then state=active at=$(cat "$dir/$u"); else state=inactive at=0; fi
echo "ActiveState=$state"
echo "ActiveEnterTimestampMonotonic=$at"
`

func TestSystemdHealth(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(systemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, dir+":"+os.Getenv("PATH"))
	s := b.open(driver.Read).(driver.HealthChecker)
	in := b.input()
	in.Only = []plan.Scope{hostName}
	ask := func(check map[string]any) error { return s.Health(t.Context(), in, check) }
	err := ask(map[string]any{"systemd": []any{"app.service", "db.service"}})
	if !errors.Is(err, driver.ErrNotReady) || !strings.Contains(err.Error(), "app.service is inactive, db.service is inactive") {
		t.Errorf("%v", err)
	}
	for _, u := range []string{"app.service", "db.service"} {
		if err := os.WriteFile(filepath.Join(dir, u), []byte("1000000"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(map[string]any{"systemd": []any{"app.service", "db.service"}}); err != nil {
		t.Error(err)
	}
	if err := ask(map[string]any{"systemd": "app.service"}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "db.service"), []byte("99999999999999"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ask(map[string]any{"systemd": "db.service"}); !errors.Is(err, driver.ErrNotReady) || !strings.Contains(err.Error(), "active for 0.0s only") {
		t.Errorf("a unit that has just started gives %v", err)
	}
	for _, bad := range []map[string]any{{"systemd": ""}, {"systemd": "-h"}, {"systemd": "a b"}, {"systemd": []any{}}, {"systemd": 5}, {"sytemd": "x"}} {
		if err := ask(bad); err == nil || !driver.IsPermanent(err) {
			t.Errorf("%v gives %v", bad, err)
		}
	}
	in.Only = []plan.Scope{"nobody"}
	if err := ask(map[string]any{"systemd": "app.service"}); err == nil {
		t.Error("a host that is not there is healthy")
	}
}
