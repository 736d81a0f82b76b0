//go:build real

package killtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// zone is the desired state of one target: one RRset for each name, as the
// lines that dig shows.
type zone struct {
	name    string
	sets    map[string][]string
	foreign map[string]string // the neighbour's, which nobody asked trueup for
	changed int               // number of the commit that changed it last
}

const manyNames = 16

func newZone(name string, rng *rand.Rand) *zone {
	z := &zone{name: name, sets: map[string][]string{}, foreign: map[string]string{}}
	for i := range manyNames / 2 {
		z.set(fmt.Sprintf("h%d", i), rng)
	}
	return z
}

// set gives a name an RRset that it never had before.
func (z *zone) set(host string, rng *rand.Rand) {
	owner := host + "." + z.name + "."
	line := func(typ, data string) string { return fmt.Sprintf("%s 60 IN %s %s", owner, typ, data) }
	ip := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		b[0] = 0x20
		a, _ := netip.AddrFromSlice(b)
		return a.String()
	}
	switch rng.IntN(5) {
	case 0:
		z.sets[host] = []string{line("TXT", fmt.Sprintf(`"%d"`, rng.Uint64()))}
	case 1:
		z.sets[host] = []string{line("CNAME", fmt.Sprintf("x%d.%s.", rng.Uint32(), z.name))}
	case 2:
		z.sets[host] = []string{line("AAAA", ip(16))}
	default:
		z.sets[host] = []string{line("A", ip(4)), line("A", ip(4))}
	}
}

// change sets, replaces or removes one to four names.
func (z *zone) change(rng *rand.Rand) {
	for range 1 + rng.IntN(4) {
		host := fmt.Sprintf("h%d", rng.IntN(manyNames))
		if _, there := z.sets[host]; there && len(z.sets) > manyNames/3 && rng.IntN(3) == 0 {
			delete(z.sets, host)
			continue
		}
		z.set(host, rng)
	}
}

// file is the zone as it stands in Git.
func (z *zone) file() string {
	return "$ORIGIN " + z.name + ".\n$TTL 60\n" + strings.Join(z.own(), "\n") + "\n"
}

// own gives the lines of the desired RRsets, sorted.
func (z *zone) own() []string {
	var out []string
	for _, lines := range z.sets {
		out = append(out, lines...)
	}
	slices.Sort(out)
	return out
}

// wanted adds the neighbour's lines to desired ones.
func (z *zone) wanted(own []string) []string {
	out := slices.Concat(own, slices.Collect(maps.Values(z.foreign)))
	slices.Sort(out)
	return out
}

// served reads what dig +noall +answer AXFR printed, but for what the server
// itself put there.
func (z *zone) served(axfr string) []string {
	var out []string
	for line := range strings.Lines(axfr) {
		f := strings.Fields(line)
		if len(f) < 5 || f[0] == z.name+"." || f[0] == "ns1."+z.name+"." {
			continue
		}
		out = append(out, strings.Join(f, " "))
	}
	slices.Sort(out)
	return out
}

// difference shows two lists side by side, for a failed test.
func difference(want, got []string) string {
	var b strings.Builder
	for _, w := range want {
		if !slices.Contains(got, w) {
			fmt.Fprintf(&b, "\n  missing %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			fmt.Fprintf(&b, "\n  not asked for %s", g)
		}
	}
	return b.String()
}
