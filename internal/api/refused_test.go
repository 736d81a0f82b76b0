package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		header                   []string
	}{
		{"unknown field", "POST", "/api/v1/actions/sync", `{"targt":"x"}`, 400, nil},
		{"two documents", "POST", "/api/v1/actions/sync", `{"target":"infra/zone"}{}`, 400, nil},
		{"no name", "POST", "/api/v1/actions/sync", `{}`, 400, nil},
		{"destroy mode", "POST", "/api/v1/actions/sync", `{"target":"infra/zone","mode":"destroy"}`, 400, nil},
		{"unknown target", "POST", "/api/v1/actions/sync", `{"target":"infra/none"}`, 404, nil},
		{"unknown verb", "POST", "/api/v1/actions/fly", `{}`, 404, nil},
		{"wrong kind", "POST", "/api/v1/actions/suspend", `{"kind":"world","key":"x"}`, 400, nil},
		{"form", "POST", "/api/v1/actions/freeze", `reason=x`, 415, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"too large", "POST", "/api/v1/actions/freeze", `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, 413, nil},
		{"limit", "GET", "/api/v1/targets?limit=100000", "", 400, nil},
		{"time", "GET", "/api/v1/runs?since=yesterday", "", 400, nil},
		{"method", "DELETE", "/api/v1/targets", "", 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := w.ask(tt.method, tt.path, "root", tt.body, tt.header...)
			if status != tt.status {
				t.Errorf("%d %s", status, body)
			}
			var e ErrorBody
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
				t.Errorf("%q is no error body: %v", body, err)
			}
		})
	}
	if calls := w.actions.list(); len(calls) > 0 {
		t.Errorf("something was done: %v", calls)
	}
}

func TestPanicTellsNothing(t *testing.T) {
	w := newWorld(t)
	status, body := w.ask("POST", "/api/v1/actions/sync", "root", `{"target":"infra/panic"}`, "X-Request-Id", "req-1")
	if status != 500 || strings.Contains(body, canary) || !strings.Contains(w.log.String(), "panic in a request") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := w.ask("GET", "/healthz", "", ""); status != 200 {
		t.Error("the server is gone")
	}
}

func TestInternalErrorsAreNotShown(t *testing.T) {
	if e := explain(errors.New("dial tcp 10.0.0.1: " + canary)); e.Status != 500 || strings.Contains(e.Message, canary) {
		t.Errorf("%+v", e)
	}
	if e := explain(errRefused{errors.New("no plan waits")}); e.Status != 409 || e.Message != "no plan waits" {
		t.Errorf("%+v", e)
	}
}
