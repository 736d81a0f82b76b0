package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
)

func rolloutOf(t *testing.T, text string) *config.Resolved {
	t.Helper()
	all, diags := resolved(t, loaded(t), "version: 1\ntargets:\n  - { name: a, path: hosts/a, environment: linux-prod, rollout: "+text+" }\n")
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	return &all[0]
}

func TestRolloutForms(t *testing.T) {
	r := rolloutOf(t, "{ batch: [1, 10%, 50%], order: [canary, web0*], maxFailures: 5%, pause: 30s, before: smoke, unreachable: hold }").Rollout
	sizes := []int{}
	for n := range 4 {
		sizes = append(sizes, r.Batch.Size(n, 50))
	}
	if !reflect.DeepEqual(sizes, []int{1, 5, 25, 25}) || r.MaxFailures.Of(50) != 2 || r.Order.First[1] != "web0*" {
		t.Errorf("%v, %+v", sizes, r)
	}
	// It is stored as JSON and read back the same.
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back config.Rollout
	if err := json.Unmarshal(body, &back); err != nil || !reflect.DeepEqual(*r, back) {
		t.Errorf("%s became %+v: %v", body, back, err)
	}
	if r := rolloutOf(t, "{ batch: 3, order: random }").Rollout; r.Batch.Size(7, 10) != 3 || r.Order.By != "random" || r.Unreachable != "retry" {
		t.Errorf("%+v", r)
	}
}

func TestBatchesAreNeverEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := config.Batches{{Share: rapid.Float64Range(0.0001, 1).Draw(t, "share")}}
		total := rapid.IntRange(1, 10000).Draw(t, "total")
		if n := b.Size(rapid.IntRange(0, 9).Draw(t, "n"), total); n < 1 || n > total {
			t.Fatalf("%d of %d", n, total)
		}
	})
}

func TestFailureFollowsTheTarget(t *testing.T) {
	for _, c := range []struct{ target, rollout, want string }{
		{"hold", "", "stop"}, {"rollback", "", "rollback"}, {"rollback", "stop", "stop"}, {"hold", "continue", "continue"},
	} {
		r := config.Resolved{OnFailure: c.target, Rollout: &config.Rollout{OnFailure: c.rollout}}
		if got := r.Failure(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestHealthOfAScope(t *testing.T) {
	h := config.Health{HTTP: "http://{{ .address }}:{{ .ports.http }}/{{.host}}", DNS: &config.DNSCheck{Name: "{{ .host }}", Expect: []string{"{{ .address }}"}},
		Driver: map[string]any{"active": []any{"{{ .unit }}", int64(7)}}}
	vars := map[string]any{"host": "web1", "address": "192.0.2.1", "unit": "app", "ports": map[string]any{"http": int64(8080)}}
	if !h.PerScope() {
		t.Error("not taken for a check of each scope")
	}
	got, err := h.Fill(vars)
	if err != nil || got.HTTP != "http://192.0.2.1:8080/web1" || got.DNS.Name != "web1" || got.DNS.Expect[0] != "192.0.2.1" {
		t.Errorf("%+v %v", got, err)
	}
	if !reflect.DeepEqual(got.Driver["active"], []any{"app", int64(7)}) || h.DNS.Name != "{{ .host }}" {
		t.Errorf("%+v, the check itself is now %+v", got.Driver, h.DNS)
	}
	delete(vars, "unit")
	if _, err := h.Fill(vars); err == nil || !strings.Contains(err.Error(), "unit") {
		t.Errorf("an unknown variable gives %v", err)
	}
	named := map[string]any{"host": map[string]any{"name": "web1", "address": "192.0.2.1"}}
	if got, err := (config.Health{TCP: "{{ .host.address }}:22", HTTP: "http://{{ .host }}/"}).Fill(named); err != nil || got.TCP != "192.0.2.1:22" || got.HTTP != "http://web1/" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := (config.Health{TCP: "{{ .ports }}"}).Fill(vars); err == nil {
		t.Error("a mapping stood for a text")
	}
	if (config.Health{TCP: "db:5432"}).PerScope() {
		t.Error("a plain check is taken for one of each scope")
	}
}

func TestCommandOfAScope(t *testing.T) {
	c := config.Command{Args: []string{"lb", "--backend={{ .host }}", "{{.target}}", "{{.State.Health}}"}}
	if got := c.ForScope("infra/web", "web1"); !reflect.DeepEqual(got, []string{"lb", "--backend=web1", "infra/web", "{{.State.Health}}"}) {
		t.Errorf("%q", got)
	}
	if !c.PerScope() || (&config.Command{Args: []string{"{{.State.Health}}"}}).PerScope() || !(&config.Command{On: "host"}).PerScope() {
		t.Error("wrongly told whether it is one of each scope")
	}
}
