package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"trueup.dev/trueup/bench/measure"
	"trueup.dev/trueup/internal/servertest/dnsserver"
)

// scene is a BIND with two zones of the same content to be: one is kept by
// trueup, the other is written by nsupdate.
type scene struct {
	dir, bin string
	n        int
	bind     *dnsserver.Server
}

const (
	ours   = "ours.example"
	theirs = "theirs.example"
	rounds = 5
	// perMessage is how many records one update of nsupdate carries: what fits
	// into a message of 64 kB with room to spare.
	perMessage = 1000
)

// address gives record i its address in a round of changes.
func address(i, round int) string {
	i += round * 7919
	return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
}

func (s *scene) measure(plans, applies *measure.Table) error {
	if err := s.prepare(); err != nil {
		return err
	}
	defer s.bind.Stop()
	if err := s.create(applies); err != nil {
		return err
	}
	if err := s.noChange(plans); err != nil {
		return err
	}
	return s.change(applies)
}

func (s *scene) prepare() error {
	bind := filepath.Join(s.dir, "bind")
	for _, d := range []string{bind, s.path("work/dns")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	var err error
	if s.bind, err = dnsserver.StartBIND(bind, dnsserver.Zone{Name: ours}, dnsserver.Zone{Name: theirs}); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("tsig"), []byte(s.bind.Key.String()+"\n"), 0o600); err != nil {
		return err
	}
	files := map[string]string{
		"work/trueup.yaml": "version: 1\ntargets:\n  - { name: zone, environment: dns, path: dns/zone }\n",
		"server.yaml": fmt.Sprintf(`version: 1
dataDir: %s/data
repositories:
  infra: { url: %s/work, branch: main }
policies:
  open: { guard: { update: 100%%, delete: 100%%, replace: 100%% } }
environments:
  dns:
    driver: dns
    policy: open
    connect: { server: "%s", zone: %s, tsig: "file:tsig" }
    allow: [{ repository: infra }]
`, s.dir, s.dir, s.bind.Addr, ours),
	}
	for name, body := range files {
		if err := os.WriteFile(s.path(name), []byte(body), 0o644); err != nil {
			return err
		}
	}
	if err := s.zone(0, 0); err != nil {
		return err
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-qm", "zone"}} {
		if out, err := exec.Command("git", append([]string{"-C", s.path("work")}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git: %w: %s", err, out)
		}
	}
	return nil
}

func (s *scene) path(p string) string { return filepath.Join(s.dir, p) }

// zone writes the desired zone, the first changed records as of a round.
func (s *scene) zone(changed, round int) error {
	var b strings.Builder
	b.WriteString("$ORIGIN " + ours + ".\n$TTL 300\n")
	for i := range s.n {
		r := 0
		if i < changed {
			r = round
		}
		fmt.Fprintf(&b, "host-%06d A %s\n", i, address(i, r))
	}
	return os.WriteFile(s.path("work/dns/zone"), []byte(b.String()), 0o644)
}

func (s *scene) trueup(args ...string) (measure.Cost, error) {
	return measure.Run(s.path("work"), []string{"TRUEUP_CONFIG=" + s.path("server.yaml"), "NO_COLOR=1"}, "", nil, append([]string{s.bin}, args...)...)
}

// nsupdate writes records to the other zone.
func (s *scene) nsupdate(records, round int, replace bool) (measure.Cost, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "server 127.0.0.1 %d\nzone %s\n", s.bind.Port, theirs)
	for i := range records {
		if replace {
			fmt.Fprintf(&b, "update delete host-%06d.%s. A\n", i, theirs)
		}
		fmt.Fprintf(&b, "update add host-%06d.%s. 300 A %s\n", i, theirs, address(i, round))
		if i%perMessage == perMessage-1 {
			b.WriteString("send\n")
		}
	}
	b.WriteString("send\n")
	k := s.bind.Key
	return measure.Run(s.dir, nil, b.String(), nil, "nsupdate", "-v", "-y", k.Algorithm+":"+k.Name+":"+k.Secret)
}

func (s *scene) dig() (measure.Cost, error) {
	k := s.bind.Key
	return measure.Run(s.dir, nil, "", nil, "dig", "@127.0.0.1", "-p", strconv.Itoa(s.bind.Port), "-y", k.Algorithm+":"+k.Name+":"+k.Secret, ours, "AXFR")
}

// create measures the first apply of everything.
func (s *scene) create(t *measure.Table) error {
	them, err := s.nsupdate(s.n, 0, false)
	if err != nil {
		return err
	}
	plan, err := s.trueup("plan", "-o", "json")
	if err != nil {
		return err
	}
	us, err := s.trueup("apply", "--auto-approve", "-o", "json")
	if err != nil {
		return err
	}
	if err := s.equal(); err != nil {
		return err
	}
	t.Add(s.n, "create all", them.Wall, us.Wall, measure.Over(us.Wall, them.Wall), plan.Wall)
	return nil
}

// equal compares the two zones on the server.
func (s *scene) equal() error {
	k := s.bind.Key
	count := func(zone string) (map[string]bool, error) {
		out, err := s.bind.DigKey(k, "+noall", "+answer", zone, "AXFR")
		set := map[string]bool{}
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 5 && f[3] == "A" && strings.HasPrefix(f[0], "host-") {
				set[strings.SplitN(f[0], ".", 2)[0]+" "+f[4]] = true
			}
		}
		return set, err
	}
	a, err := count(ours)
	if err != nil {
		return err
	}
	b, err := count(theirs)
	if err != nil {
		return err
	}
	if len(a) != s.n || len(b) != s.n {
		return fmt.Errorf("the zones have %d and %d of %d records", len(a), len(b), s.n)
	}
	for r := range a {
		if !b[r] {
			return fmt.Errorf("the zones differ: %s", r)
		}
	}
	return nil
}

func (s *scene) noChange(t *measure.Table) error {
	dig, err := measure.Median(rounds, s.dig)
	if err != nil {
		return err
	}
	plan, err := measure.Median(rounds, func() (measure.Cost, error) { return s.trueup("plan", "--detailed-exitcode") })
	if err != nil {
		return err
	}
	t.Add(s.n, dig.Wall, plan.Wall, measure.Over(plan.Wall, dig.Wall), dig.CPU, plan.CPU, measure.Bytes(plan.Peak))
	return nil
}

// change measures an apply of one percent.
func (s *scene) change(t *measure.Table) error {
	n, round := s.n/100, 0
	them, err := measure.Median(3, func() (measure.Cost, error) { round++; return s.nsupdate(n, round, true) })
	if err != nil {
		return err
	}
	planned, err := s.trueup("plan")
	if err != nil {
		return err
	}
	round = 0
	us, err := measure.Median(3, func() (measure.Cost, error) {
		round++
		if err := s.zone(n, round); err != nil {
			return measure.Cost{}, err
		}
		return s.trueup("apply", "--auto-approve")
	})
	if err != nil {
		return err
	}
	if err := s.equal(); err != nil {
		return err
	}
	t.Add(s.n, "update 1%", them.Wall, us.Wall, measure.Over(us.Wall, them.Wall), planned.Wall)
	return nil
}
