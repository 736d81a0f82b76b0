package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/dnsserver"
)

// benchApply compares writing with nsupdate: a full create, then a change of
// one record in a hundred. Each run has its own, fresh servers.
func benchApply(dir string, n, runs int) error {
	full := makeZone(n)
	changed := &zone{records: append([]record(nil), full.records...)}
	part := &zone{}
	for i, step := 0, 0; i < n; i++ {
		if r := &changed.records[i]; r.typ == "A" {
			if step++; step%70 == 1 {
				r.data = fmt.Sprintf("10.200.%d.%d", i>>8&255, i&255)
				part.records = append(part.records, *r)
			}
		}
	}
	var ours, theirs [2][]cost
	for i := range runs {
		sub := filepath.Join(dir, fmt.Sprint(i))
		a, err := applyOurs(filepath.Join(sub, "trueup"), full, changed)
		if err != nil {
			return err
		}
		b, err := applyTheirs(filepath.Join(sub, "nsupdate"), full, part)
		if err != nil {
			return err
		}
		for k := range a {
			ours[k], theirs[k] = append(ours[k], a[k]), append(theirs[k], b[k])
		}
	}
	for k, name := range []string{fmt.Sprintf("dns_create_%d_", n), fmt.Sprintf("dns_change_%d_of_%d_", len(part.records), n)} {
		figure(name+"nsupdate_wall", ms(walls(theirs[k])), "ms", "")
		figure(name+"wall", ms(walls(ours[k])), "ms", "")
		figure(name+"wall_ratio", float64(walls(ours[k]))/float64(walls(theirs[k])), "x", "1.5")
	}
	return nil
}

func emptyServer(dir string) (*dnsserver.Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return dnsserver.StartBIND(dir, dnsserver.Zone{Name: zoneName, Text: head})
}

// applyOurs measures Apply of a full create and of the change; the plans were
// made, stored and approved before, as a run does it.
func applyOurs(dir string, full, changed *zone) (out [2]cost, err error) {
	srv, err := emptyServer(dir)
	if err != nil {
		return out, err
	}
	defer srv.Stop()
	os.Setenv("BENCH_ADDR", srv.Addr)
	os.Setenv("BENCH_KEY", srv.Key.String())
	inv := driver.Inventory{}
	for k, z := range []*zone{full, changed} {
		if err := os.WriteFile(filepath.Join(dir, "desired.zone"), []byte(z.text()), 0o600); err != nil {
			return out, err
		}
		p, in, err := planOnce(context.Background(), dir, inv)
		if err != nil {
			return out, err
		}
		j := &adopter{}
		start := time.Now()
		if err := applyOnce(in, p, j); err != nil {
			return out, err
		}
		out[k].wall = time.Since(start)
		for _, r := range j.results {
			if r.Outcome != plan.Applied {
				return out, fmt.Errorf("%s: %s", r.Key, r.Error)
			}
			inv[r.Key] = driver.Owned{Key: r.Key, Kind: r.Kind, Class: r.Class, Weight: r.Weight, Hash: r.Hash}
		}
	}
	return out, check(srv, changed)
}

func applyOnce(in driver.Input, p *plan.Plan, j *adopter) error {
	s, err := open(context.Background())
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Apply(context.Background(), in, p, j)
}

func applyTheirs(dir string, full, part *zone) (out [2]cost, err error) {
	srv, err := emptyServer(dir)
	if err != nil {
		return out, err
	}
	defer srv.Stop()
	for k, z := range []*zone{full, part} {
		script := filepath.Join(dir, "script")
		text := fmt.Sprintf("server 127.0.0.1 %d\n", srv.Port) + z.script(k == 1)
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			return out, err
		}
		if out[k], err = command("nsupdate", "-v", "-y", srv.Key.Algorithm+":"+srv.Key.Name+":"+srv.Key.Secret, script); err != nil {
			return out, err
		}
	}
	return out, nil
}

// check asks dig whether the server holds as many records as it should.
func check(srv *dnsserver.Server, z *zone) error {
	out, err := srv.DigKey(srv.Key, "+noall", "+answer", zoneName, "AXFR")
	if err != nil {
		return err
	}
	if got, want := strings.Count(out, "\n"), len(z.records)+4; got != want {
		return fmt.Errorf("the zone holds %d records, %d were applied", got, want)
	}
	return nil
}
