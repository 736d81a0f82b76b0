package config_test

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

func large(n int) []byte {
	var b strings.Builder
	b.WriteString("version: 1\ntargets:\n")
	for i := range n {
		fmt.Fprintf(&b, `  - name: zone-%d
    environment: dns-public
    path: dns/zone%d.zone
    inputs: [dns/common/**]
    values: { lb: zone-0.out }
    outputs: { out: {} }
    scope: { except: ["_acme-challenge.**", "*.k8s"] }
    health: [{ dns: { name: www, type: A }, within: 2m }]
    onFailure: rollback
`, i, i)
	}
	return []byte(strings.Replace(b.String(), "values: { lb: zone-0.out }", "values: {}", 1))
}

func resolveLarge(tb testing.TB, s *config.Server, body []byte) int {
	m, diags := config.ParseManifest("trueup.yaml", body)
	if diags.Err() != nil {
		tb.Fatal(diags)
	}
	all, diags := config.Resolve(config.Context{Repository: "infra", Server: s, Drivers: fakes(tb), Branch: "main"}, "trueup.yaml", m)
	diags = append(diags, config.Check(all)...)
	if diags.Err() != nil {
		tb.Fatal(diags)
	}
	return len(all)
}

// 10,000 targets in one file are read, as one large file. How long that takes
// is the benchmark's to say.
func TestTenThousandTargets(t *testing.T) {
	if n := resolveLarge(t, loaded(t), large(10_000)); n != 10_000 {
		t.Fatalf("%d targets", n)
	}
}

func BenchmarkTenThousandTargets(b *testing.B) {
	s, body := loaded(b), large(10_000)
	b.ReportAllocs()
	for b.Loop() {
		resolveLarge(b, s, body)
	}
}
