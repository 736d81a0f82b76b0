package config_test

import (
	"context"
	"errors"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// fake is a driver that has types and does nothing.
type fake struct{ info driver.Info }

func (f fake) Info() driver.Info { return f.info }

func (fake) Prepare(context.Context, driver.Input) (*driver.Prepared, error) {
	return nil, errors.New("a fake prepares nothing")
}

func (fake) Open(context.Context, driver.Environment, driver.Purpose) (driver.Session, error) {
	return nil, errors.New("a fake opens nothing")
}

type zoneConnect struct {
	// Server is host:port of the primary.
	Server string `yaml:"server" jsonschema:"required"`
	Zone   string `yaml:"zone"`
	TSIG   tsig   `yaml:"tsig"`
}

// tsig reads itself from a reference or from its parts.
type tsig struct {
	Ref    secret.Ref `yaml:"-"`
	Name   string     `yaml:"name"`
	Secret secret.Ref `yaml:"secret"`
}

func (t *tsig) UnmarshalYAML(fill func(any) error) error {
	var ref string
	if fill(&ref) == nil {
		t.Ref = secret.Ref(ref)
		return nil
	}
	type parts tsig
	return fill((*parts)(t))
}

type zoneSpec struct {
	PTR bool `yaml:"ptr"`
	TTL int  `yaml:"ttl" jsonschema:"minimum=1"`
	Cut struct {
		After []int `yaml:"after"`
	} `yaml:"cut"`
}

func (s *zoneSpec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	for i, n := range s.Cut.After {
		if n < 0 {
			d.Errorf(plan.Source{}, "cut.after["+string(rune('0'+i))+"]", "count from 0", "%d is negative", n)
		}
	}
	return d
}

type zoneScope struct {
	Names  []string `yaml:"names"`
	Except []string `yaml:"except"`
	Types  []string `yaml:"types"`
}

func (zoneScope) Contains(plan.Key, string) bool { return true }

// openSpec takes whatever is written; it stands for drivers to come.
type openSpec struct {
	Rest map[string]any
}

func (s *openSpec) TakeExtra(key string, value func() any) bool {
	if s.Rest == nil {
		s.Rest = map[string]any{}
	}
	s.Rest[key] = value()
	return true
}

func (*openSpec) Contains(plan.Key, string) bool { return true }

func fakes(t testing.TB) driver.Registry {
	t.Helper()
	open := func(name string) driver.Driver {
		return fake{driver.Info{Name: name, Spec: func() any { return &openSpec{} }, Connect: func() any { return &openSpec{} },
			Scope: func() driver.ScopeSpec { return &openSpec{} }}}
	}
	dns := fake{driver.Info{Name: "dns", Spec: func() any { return &zoneSpec{} }, Connect: func() any { return &zoneConnect{} },
		Scope: func() driver.ScopeSpec { return &zoneScope{} }}}
	r, err := driver.NewRegistry(dns, open("ssh"), open("tofu"), checking{open("kubernetes").(fake)}, open("people"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checking reads its own health checks: all is the only thing that is ready.
type checking struct{ fake }

func (checking) ReadCheck(check map[string]any) plan.Diagnostics {
	var d plan.Diagnostics
	if check["ready"] != "all" {
		d.Errorf(plan.Source{}, "ready", "write all", "%v is nothing that gets ready", check["ready"])
	}
	return d
}
