package drivertest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// This file is the worked example of docs/writing-a-driver.md: a driver whose
// environment is one file of "name=value" lines that ends with "# end".

// Connect is where the environment is.
type Connect struct {
	File string `yaml:"file"`
}

// Spec is how a target's pairs may look.
type Spec struct {
	// Limit refuses longer values; 0 is no limit.
	Limit int `yaml:"limit,omitempty"`
}

// Validate checks the spec.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	if s.Limit < 0 {
		d.Errorf(plan.Source{}, "limit", "write 0 for no limit", "%d is negative", s.Limit)
	}
	return d
}

// Scope contains everything.
type Scope struct{}

// Contains tells whether an object lies inside.
func (*Scope) Contains(plan.Key, string) bool { return true }

type pairs struct{}

func (pairs) Info() driver.Info {
	return driver.Info{Name: "pairs", Summary: "a file of name=value lines", Version: "1", StopGrace: 5 * time.Second,
		Spec: func() any { return &Spec{} }, Scope: func() driver.ScopeSpec { return &Scope{} }, Connect: func() any { return &Connect{} }}
}

type item = setplan.Item[string]

// toItem is the one way from a pair to an object, desired or observed, so that
// equal pairs have equal hashes.
func toItem(name, value string) item {
	sum := sha256.Sum256([]byte(value))
	return item{Key: plan.Key{Address: plan.Address(name)}, Kind: "pair", Class: "pair", Hash: hex.EncodeToString(sum[:]), Value: value}
}

// Prepare reads the snapshot alone. Mistakes are diagnostics with their line.
func (pairs) Prepare(_ context.Context, in driver.Input) (*driver.Prepared, error) {
	p := &driver.Prepared{}
	text, err := fs.ReadFile(in.Tree, in.Path)
	if errors.Is(err, fs.ErrNotExist) {
		p.Diagnostics.Errorf(plan.Source{File: in.Path}, "path", "name a file of this commit", "it does not exist")
		return p, nil
	} else if err != nil {
		return nil, err
	}
	var items []item
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		at := plan.Source{File: in.Path, Line: i + 1}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			p.Diagnostics.Errorf(at, "", "write name=value", "%q is no pair", line)
			continue
		}
		if spec, ok := in.Spec.(*Spec); ok && spec.Limit > 0 && len(value) > spec.Limit {
			p.Diagnostics.Errorf(at, "limit", "shorten it", "the value of %s has %d bytes, %d are allowed", name, len(value), spec.Limit)
		}
		it := toItem(name, value)
		it.Source = at
		items = append(items, it)
		p.Desired = append(p.Desired, driver.Desired{Key: it.Key, Kind: it.Kind, Source: at})
	}
	p.State = items
	return p, nil
}

// Open makes sure that the environment is there.
func (pairs) Open(_ context.Context, env driver.Environment, _ driver.Purpose) (driver.Session, error) {
	c, ok := env.Connect.(*Connect)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("connect is a %T", env.Connect))
	}
	if _, err := os.Stat(c.File); err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	return &session{file: c.File}, nil
}

type session struct {
	file string
	mu   sync.Mutex
}

func (*session) Close() error { return nil }

func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	p, err := setplan.Plan(ctx, in, s)
	if err == nil {
		p.Driver, p.Version = "pairs", "1"
	}
	return p, err
}

func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	return setplan.Apply(ctx, in, p, s, report)
}

// Desired, Observed, Put and Remove are all that setplan asks for.

func (s *session) Desired(ctx context.Context, in driver.Input) ([]item, error) {
	prep := in.Prepared
	if prep == nil {
		var err error
		if prep, err = (pairs{}).Prepare(ctx, in); err != nil {
			return nil, err
		}
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	return prep.State.([]item), nil
}

func (s *session) Observed(context.Context, driver.Input, []plan.Key) ([]setplan.Scope[string], error) {
	sc := setplan.Scope[string]{Realm: "pairs:" + s.file}
	var all map[string]string
	if all, sc.Err = load(s.file); sc.Err != nil {
		return []setplan.Scope[string]{sc}, nil // unknown: nothing is planned
	}
	for name, value := range all {
		sc.Items = append(sc.Items, toItem(name, value))
	}
	return []setplan.Scope[string]{sc}, nil
}

func (s *session) Put(_ context.Context, it, _ item) error {
	return s.edit(func(all map[string]string) { all[string(it.Address)] = it.Value })
}

func (s *session) Remove(_ context.Context, old item) error {
	return s.edit(func(all map[string]string) { delete(all, string(old.Address)) })
}

func (s *session) edit(change func(map[string]string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := load(s.file)
	if err != nil {
		return err
	}
	change(all)
	return save(s.file, all)
}

// load reads the whole file or gives an error: a file without its last line
// was cut short.
func load(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutSuffix(text, []byte("# end\n"))
	if !ok {
		return nil, fmt.Errorf("%s is cut short", file)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		all[name] = value
	}
	return all, nil
}

func save(file string, all map[string]string) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", name, all[name])
	}
	b.WriteString("# end\n")
	if err := os.WriteFile(file+".new", []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
