package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// job is what a child does: bring one directory to one host with the driver
// alone. A file of a gigabyte is more than trueup takes from a Git blob; it
// comes by Git LFS or as an artefact, and the driver's part is the same.
type job struct {
	Dir, Host, Address, Key, KnownHosts, Inventory, Profile string
}

// runChild plans, applies and plans again, as the engine does.
func runChild(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Profile != "" {
		f, err := os.Create(j.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	inv := driver.Inventory{}
	if b, err := os.ReadFile(j.Inventory); err == nil {
		var owned []driver.Owned
		if err := json.Unmarshal(b, &owned); err != nil {
			return err
		}
		for _, o := range owned {
			inv[o.Key] = o
		}
	}
	inv, err := j.run(context.Background(), inv)
	if err != nil {
		return err
	}
	var owned []driver.Owned
	for _, o := range inv {
		owned = append(owned, o)
	}
	b, err := json.Marshal(owned)
	if err != nil {
		return err
	}
	return os.WriteFile(j.Inventory, b, 0o600)
}

func (j *job) run(ctx context.Context, inv driver.Inventory) (driver.Inventory, error) {
	key, err := os.ReadFile(j.Key)
	if err != nil {
		return nil, err
	}
	env := driver.Environment{Name: "bench", HashKey: []byte("bench"), Connect: &ssh.Connect{KnownHosts: []string{j.KnownHosts}, Key: "mem:key",
		Hosts: map[string]inventory.HostSpec{j.Host: {Address: j.Address}}},
		Secret: func(_ context.Context, ref secret.Ref) (secret.Value, error) {
			if ref == "" {
				return secret.Value{}, nil
			}
			return secret.New(string(key)), nil
		}}
	d := ssh.New()
	in := driver.Input{Target: "t", Tree: os.DirFS(j.Dir), Path: "hosts", Spec: &ssh.Spec{}, Scope: &ssh.Scope{}, Inventory: inv, Mode: plan.Apply}
	if in.Prepared, err = d.Prepare(ctx, in); err != nil {
		return nil, err
	}
	read, err := d.Open(ctx, env, driver.Read)
	if err != nil {
		return nil, err
	}
	defer read.Close()
	p, err := read.Plan(ctx, in)
	if err != nil {
		return nil, err
	}
	write, err := d.Open(ctx, env, driver.Write)
	if err != nil {
		return nil, err
	}
	defer write.Close()
	journal := drivertest.NewJournal(inv, p)
	if err := write.Apply(ctx, in, p, journal); err != nil {
		return nil, err
	}
	for _, r := range journal.Results() {
		if r.Outcome != plan.Applied {
			return nil, fmt.Errorf("%s: %s: %s", r.Key, r.Outcome, r.Error)
		}
	}
	in.Inventory = journal.Inventory()
	if p, err = read.Plan(ctx, in); err != nil {
		return nil, err
	}
	if !p.Empty() {
		return nil, errors.New("the plan after apply is not empty")
	}
	return in.Inventory, nil
}

// applyAlone runs the driver alone in a process of its own.
func (r *repo) applyAlone(profile string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	h := r.b.lab.Hosts[0]
	text, err := json.Marshal(job{Dir: r.dir, Host: h.Name, Address: h.Addr, Key: r.b.lab.Key, KnownHosts: r.b.lab.KnownHosts,
		Inventory: filepath.Join(filepath.Dir(r.config), "inventory.json"), Profile: profile})
	if err != nil {
		return cost{}, err
	}
	return command(nil, r.dir, self, "-child", string(text))
}
