package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// fleet is a driver of many hosts, each a directory below its root. A file
// HOST.down beside it makes a host unreachable, HOST.full makes its writes
// fail. What is called on a host goes into the file "calls".
type fleet struct{}

type fleetConnect struct {
	Root   string              `yaml:"root"`
	Hosts  []string            `yaml:"hosts"`
	Groups map[string][]string `yaml:"groups"`
}

type fleetScope struct{}

func (*fleetScope) Contains(plan.Key, string) bool { return true }

type fleetSpec struct{}

func (fleet) Info() driver.Info {
	return driver.Info{Name: "fleet", Version: "1", Connect: func() any { return &fleetConnect{} },
		Scope: func() driver.ScopeSpec { return &fleetScope{} }, Spec: func() any { return &fleetSpec{} }, StopGrace: time.Second}
}

func (fleet) Prepare(_ context.Context, in driver.Input) (*driver.Prepared, error) {
	files, err := fleetFiles(in)
	p := &driver.Prepared{}
	for name := range files {
		p.Desired = append(p.Desired, driver.Desired{Key: plan.Key{Address: plan.Address(name)}})
	}
	return p, err
}

func fleetFiles(in driver.Input) (map[string]string, error) {
	out := map[string]string{}
	err := fs.WalkDir(in.Tree, in.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(in.Tree, p)
		out[strings.TrimPrefix(p, in.Path+"/")] = string(b)
		return err
	})
	return out, err
}

func (fleet) Open(_ context.Context, env driver.Environment, _ driver.Purpose) (driver.Session, error) {
	return &fleetSession{c: env.Connect.(*fleetConnect)}, nil
}

type fleetSession struct {
	c  *fleetConnect
	mu sync.Mutex
}

type fleetItem = setplan.Item[string]

func (s *fleetSession) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	return setplan.Plan(ctx, in, setplan.Set[string](s))
}

func (s *fleetSession) Apply(ctx context.Context, in driver.Input, p *plan.Plan, r driver.Report) error {
	return setplan.Apply(ctx, in, p, setplan.Set[string](s), r)
}

func (s *fleetSession) Close() error { return nil }

func item(host, name, content string) fleetItem {
	return fleetItem{Key: plan.Key{Scope: plan.Scope(host), Address: plan.Address(name)}, Kind: "file", Hash: content, Class: "file", Value: content}
}

func (s *fleetSession) Desired(_ context.Context, in driver.Input) ([]fleetItem, error) {
	files, err := fleetFiles(in)
	var out []fleetItem
	for _, h := range s.c.Hosts {
		for name, content := range files {
			out = append(out, item(h, name, strings.ReplaceAll(content, "HOST", h)))
		}
	}
	return out, err
}

func (s *fleetSession) Observed(_ context.Context, in driver.Input, keys []plan.Key) ([]setplan.Scope[string], error) {
	var out []setplan.Scope[string]
	for _, h := range s.c.Hosts {
		if !in.Covers(plan.Scope(h)) || keys != nil && !slices.ContainsFunc(keys, func(k plan.Key) bool { return k.Scope == plan.Scope(h) }) {
			continue
		}
		sc := setplan.Scope[string]{Name: plan.Scope(h), Realm: "fleet:" + s.c.Root + "/" + h}
		if sc.Err = s.reach(h); sc.Err == nil {
			dir := filepath.Join(s.c.Root, h)
			list, err := os.ReadDir(dir)
			sc.Err = err
			for _, e := range list {
				b, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					sc.Err = err
				}
				sc.Items = append(sc.Items, item(h, e.Name(), string(b)))
			}
		}
		out = append(out, sc)
	}
	return out, nil
}

func (s *fleetSession) reach(h string) error {
	if _, err := os.Stat(filepath.Join(s.c.Root, h+".down")); err == nil {
		return fmt.Errorf("dial %s: %w", h, driver.ErrUnreachable)
	}
	return nil
}

func (s *fleetSession) Put(_ context.Context, it, _ fleetItem) error {
	if err := s.reach(string(it.Scope)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.c.Root, string(it.Scope)+".full")); err == nil {
		return errors.New("no space left")
	}
	return os.WriteFile(filepath.Join(s.c.Root, string(it.Scope), string(it.Address)), []byte(it.Value), 0o644)
}

func (s *fleetSession) Remove(_ context.Context, old fleetItem) error {
	return os.Remove(filepath.Join(s.c.Root, string(old.Scope), string(old.Address)))
}

func (s *fleetSession) Show(it fleetItem) (json.RawMessage, []string, error) {
	doc, err := json.Marshal(map[string]string{"content": it.Value})
	return doc, nil, err
}

func (s *fleetSession) Scopes(context.Context, driver.Input) ([]driver.ScopeInfo, error) {
	var out []driver.ScopeInfo
	for _, h := range s.c.Hosts {
		info := driver.ScopeInfo{Scope: plan.Scope(h), Vars: map[string]any{"address": "addr-" + h}}
		for g, members := range s.c.Groups {
			if slices.Contains(members, h) {
				info.Groups = append(info.Groups, g)
			}
		}
		out = append(out, info)
	}
	return out, nil
}

func (s *fleetSession) Command(_ context.Context, scope plan.Scope, c driver.Command, log func(string)) error {
	log("called")
	return s.call(fmt.Sprintf("%s on %s", strings.Join(c.Args, " "), scope))
}

func (s *fleetSession) call(line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(s.c.Root, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// Health: a host is healthy unless its file "app" says bad.
func (s *fleetSession) Health(_ context.Context, in driver.Input, check map[string]any) error {
	for _, h := range in.Only {
		b, err := os.ReadFile(filepath.Join(s.c.Root, string(h), "app"))
		if err != nil {
			return err
		}
		if strings.Contains(string(b), fmt.Sprint(check["not"])) {
			return driver.Permanent(fmt.Errorf("%s is sick", h))
		}
	}
	return nil
}
