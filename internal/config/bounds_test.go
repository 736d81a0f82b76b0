package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, strings.ReplaceAll(format, "#", "%[1]d"), i)
	}
	return b.String()
}

// Texts that are made to cost much cost little, and are refused. Without the
// bounds each of them takes minutes or all the memory.
func TestHostileManifests(t *testing.T) {
	s := loaded(t)
	const head = "version: 1\ntargets:\n"
	const one = "  - { name: a, path: dns/a, environment: dns-public, "
	for name, body := range map[string]string{
		"bytes":         "version: 1\n#" + strings.Repeat("x", 9<<20),
		"nodes":         "version: 1\nx: [" + strings.Repeat("[],", 600_000) + "]",
		"depth":         "version: 1\nx: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"unknown":       head + one + many(50_000, "k#: 1, ") + "}\n",
		"values":        head + one + "values: { " + many(50_000, "k#: bad, ") + "} }\n",
		"checks":        head + one + "health: [{ " + many(50_000, "k#: 1, ") + "}] }\n",
		"environments":  head + "  - { name: a, path: x, environments: [" + strings.Repeat("ldap, ", 50_000) + "] }\n",
		"previously":    head + one + "previously: { names: [" + many(50_000, "n#, ") + "] } }\n",
		"one path":      head + many(5_000, "  - { name: a#, path: dns/a, environment: dns-public }\n"),
		"nobody":        head + many(5_000, "  - { name: a#, path: dns/a#, environment: dns-public, dependsOn: [b#] }\n"),
		"rings":         head + many(5_000, "  - { name: a#, path: dns/a#, environment: dns-public, dependsOn: [a0, b] }\n") + "  - { name: b, path: dns/b, environment: dns-public, dependsOn: [" + many(900, "a#, ") + "] }\n",
		"double keys":   head + one + strings.Repeat("k: 1, ", 50_000) + "}\n",
		"directories":   head + many(30_000, "  - { name: \"a#-{dir}\", each: apps/*, environment: k8s-prod, path: \"x#/{dir}\" }\n"),
		"merge of many": head + "  - &a { " + many(1000, "k#: 1, ") + "}\n  - { <<: [" + strings.Repeat("*a, ", 2000) + "] }\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			all, diags := resolved(t, s, body)
			if diags.Err() == nil {
				t.Errorf("it was accepted, with %d targets", len(all))
			}
			if n := len(diags.Error()); n > 4<<20 {
				t.Errorf("%d bytes of messages", n)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("it took %s", took)
			} else {
				t.Logf("%s, %d findings", took.Round(time.Millisecond), len(diags))
			}
		})
	}
}
