package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Impacts are the keys of a policy's guard.
var Impacts = []string{"create", "update", "replace", "delete", "disable"}

// DefaultGuard gives the limits of every kind of impact that a policy says
// nothing about; creates are not limited. Where both are given the smaller
// counts, and the policy always lets a share allow a few changes, so that a
// small inventory stays usable.
func DefaultGuard() map[string]Limit {
	at := func(n int, share float64) Limit { return Limit{Max: &n, Share: &share} }
	return map[string]Limit{
		"update":  at(100, 0.33),
		"replace": at(10, 0.20),
		"delete":  at(10, 0.20),
		"disable": at(10, 0.20),
	}
}

// DefaultPolicy is what holds in an environment that names no policy.
func DefaultPolicy() *Policy {
	p := &Policy{Name: "default", Guard: DefaultGuard()}
	applyDefaults(p)
	return p
}

// limitParts is the long form of a limit.
type limitParts struct {
	Max     *int           `yaml:"max" jsonschema:"minimum=0"`
	Share   *string        `yaml:"share"`
	Classes map[string]int `yaml:"classes"`
}

var percent = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?%$`)

// UnmarshalYAML reads `5`, `20%` or `{max:, share:, classes:}`.
func (l *Limit) UnmarshalYAML(fill func(any) error) error {
	const want = "expected a number (5), a share (20%%) or {max: 5, share: 20%%, classes: {record: 50}}, found %q"
	var n int
	if fill(&n) == nil {
		if n < 0 {
			return fmt.Errorf("a limit can't be negative, found %d", n)
		}
		l.Max = &n
		return nil
	}
	var s string
	if fill(&s) == nil {
		share, ok := parseShare(s)
		if !ok {
			return fmt.Errorf(want, s)
		}
		l.Share = &share
		return nil
	}
	var p limitParts
	if err := fill(&p); err != nil {
		return err
	}
	l.Max, l.Classes = p.Max, p.Classes
	for class, n := range p.Classes {
		if n < 0 {
			return fmt.Errorf("a limit can't be negative, found %d for %s", n, class)
		}
	}
	if p.Share != nil {
		share, ok := parseShare(*p.Share)
		if !ok {
			return fmt.Errorf("expected a share between 0%% and 100%%, found %q", *p.Share)
		}
		l.Share = &share
	}
	if l.Max == nil && l.Share == nil && len(l.Classes) == 0 {
		return fmt.Errorf("the limit is empty: give max, share or classes")
	}
	return nil
}

func parseShare(s string) (float64, bool) {
	m := percent.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, false
	}
	x, err := strconv.ParseFloat(m[1], 64)
	return x / 100, err == nil && x <= 100
}
