package dns

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/dns/dnsfake"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const emptyZone = `$ORIGIN example.com.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 604800 300
@ IN NS ns1
`

// fakeWorld is a zone on the fake server.
type fakeWorld struct{ srv *dnsfake.Server }

func newFakeWorld(t testing.TB) drivertest.World {
	srv, err := dnsfake.Start(map[string]string{"example.com.": emptyZone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	return &fakeWorld{srv}
}

func (w *fakeWorld) Environment() driver.Environment {
	return driver.Environment{Name: "dns", Connect: &Connect{Server: w.srv.Addr, Zone: "example.com", TSIG: &TSIG{Ref: "test:k"}},
		Secret: func(context.Context, secret.Ref) (secret.Value, error) { return secret.New(w.srv.TSIG()), nil }}
}

func (w *fakeWorld) Set(t testing.TB, name, value string) {
	t.Helper()
	if err := w.srv.Edit("example.com.", []string{fmt.Sprintf("%s.example.com. 300 IN TXT %q", name, value)}, []string{name + ".example.com. TXT"}); err != nil {
		t.Fatal(err)
	}
}

func (w *fakeWorld) Unset(t testing.TB, name string) {
	t.Helper()
	if err := w.srv.Edit("example.com.", nil, []string{name + ".example.com. TXT"}); err != nil {
		t.Fatal(err)
	}
}

func (w *fakeWorld) List(testing.TB) drivertest.Objects {
	return listTXT(strings.Join(w.srv.Records("example.com."), "\n"))
}

// listTXT reads the TXT records out of master file text.
func listTXT(text string) drivertest.Objects {
	out := drivertest.Objects{}
	for _, line := range strings.Split(text, "\n") {
		if f := strings.Fields(line); len(f) == 5 && f[3] == "TXT" {
			out[strings.TrimSuffix(f[0], ".example.com.")] = strings.Trim(f[4], `"`)
		}
	}
	return out
}

func (w *fakeWorld) MakeUnreadable(testing.TB) func() {
	w.srv.Refuse(true)
	return func() { w.srv.Refuse(false) }
}

func (w *fakeWorld) TruncateReads(testing.TB) func() {
	w.srv.CutTransfers(true)
	return func() { w.srv.CutTransfers(false) }
}

func (w *fakeWorld) Block(_ testing.TB, name string) func() {
	w.srv.RefuseName(name + ".example.com.")
	return func() { w.srv.RefuseName("") }
}

func txtInput(_ testing.TB, want drivertest.Objects) driver.Input {
	text := emptyZone
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text += fmt.Sprintf("%s IN TXT %q\n", name, want[name])
	}
	return driver.Input{Tree: fstest.MapFS{"dns/example.com.zone": {Data: []byte(text)}}, Path: "dns/example.com.zone", Spec: &Spec{}, Scope: &Scope{}}
}

func harness(world func(testing.TB) drivertest.World) drivertest.Harness {
	badSpec := txtInput(nil, drivertest.Objects{"one": "v1"})
	badSpec.Spec = &Spec{Ownership: "most"}
	badFile := txtInput(nil, nil)
	badFile.Tree = fstest.MapFS{"dns/example.com.zone": {Data: []byte(emptyZone + "www IN A 192.0.2.300\n")}}
	return drivertest.Harness{
		Driver: New(), New: world, Input: txtInput,
		Key: func(name string) plan.Key {
			return plan.Key{Scope: "example.com.", Address: plan.Address(name + ".example.com./TXT")}
		},
		Bad: []drivertest.BadInput{
			{Name: "ownership", Input: badSpec, Field: "ownership"},
			{Name: "address", Input: badFile, File: "dns/example.com.zone", Line: 5},
		},
		Canaries: []string{"YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy0tLS0=", "apikey1"},
		OptOut: map[string]string{
			"SecretsDoNotShow": "a zone is public: desired states hold no secrets (those of the connection are checked all the same)",
		},
	}
}

func TestConformanceFake(t *testing.T) { drivertest.Run(t, harness(newFakeWorld)) }
