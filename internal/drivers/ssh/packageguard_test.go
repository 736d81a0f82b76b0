package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

// TestPackagesOfOthersStay: where apt-get would remove what nobody asked for,
// nothing is done.
func TestPackagesOfOthersStay(t *testing.T) {
	dir := t.TempDir()
	fake := `#!/bin/sh
case " $* " in
*" -s "*) printf 'Reading package lists...\nRemv postfix [3.7]\nRemv mailx:amd64 [1]\nInst exim4 (4.96)\n' ;;
*) echo "$*" >>` + dir + `/done ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	install := func(gone string) error {
		s := newScript()
		fmt.Fprintf(s, "%s\nPATH=%s:$PATH\ntry 0 %s\n", kindsLib, dir, quote("apt "+quote(gone)+" exim4"))
		out, err := runScript(t.Context(), &local{}, s, true, maxAnswer)
		return outcomes(out, s.nonce, 1, err)[0]
	}
	for _, gone := range []string{"", "mailx", "postfix"} {
		if err := install(gone); err == nil || !strings.Contains(err.Error(), "would also remove") {
			t.Errorf("%q may go: %v", gone, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "done")); err == nil {
		t.Error("it was done all the same")
	}
	if err := install("postfix mailx"); err != nil {
		t.Errorf("what was asked to go: %v", err)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "done")); err != nil || !strings.Contains(string(body), "install exim4") {
		t.Errorf("%q %v", body, err)
	}
}

// TestWhatPackagesMayGo: of the steps those that ask for it.
func TestWhatPackagesMayGo(t *testing.T) {
	steps := []step{
		{Change: plan.Change{Key: plan.Key{Address: "package:a"}}, New: &item{Value: &object{State: &packageState{Installed: true}}}},
		{Change: plan.Change{Key: plan.Key{Address: "package:b"}}, New: &item{Value: &object{State: &packageState{}}}},
	}
	if got := strings.Join(leavingPackages(steps), " "); got != "b" {
		t.Error(got)
	}
}
