package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

func (f *fakeActions) Promotions(_ context.Context, from, to string) ([]edit.Promotable, error) {
	return []edit.Promotable{{Target: "infra/zone", Environment: "dns", FromEnv: "dns"}, {Target: "infra/x", Environment: "test", FromEnv: "test"}}, f.did("promotions", from, to)
}
func (f *fakeActions) Promote(_ context.Context, by store.Actor, p edit.Promotion) ([]edit.Written, error) {
	return []edit.Written{{Repository: "infra", Number: 7}}, f.did("promote", string(by), p.From, p.To, fmt.Sprint(p.DryRun))
}

// TestPromotions: a dry run is for those who may look, the real one for
// operators of the environment; what the caller can't see stays hidden.
func TestPromotions(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		user, body string
		status     int
	}{
		{"otto", `{"from": "test", "to": "dns"}`, http.StatusOK},
		{"vera", `{"from": "test", "to": "dns"}`, http.StatusForbidden},
		{"vera", `{"from": "test", "to": "dns", "dryRun": true}`, http.StatusOK},
		{"otto", `{"from": "test", "to": "nowhere"}`, http.StatusNotFound},
		{"otto", `{"from": "", "to": "dns"}`, http.StatusNotFound},
		{"otto", `{"form": "test"}`, http.StatusBadRequest},
		{"", `{"from": "test", "to": "dns"}`, http.StatusUnauthorized},
	} {
		if status, body := w.ask(http.MethodPost, "/api/v1/promotions", c.user, c.body); status != c.status {
			t.Errorf("%s %s: %d %s", c.user, c.body, status, body)
		}
	}
	if status, body := w.ask(http.MethodGet, "/api/v1/promotions", "vera", ""); status != http.StatusOK || strings.Count(body, `"target"`) != 2 {
		t.Errorf("%d %s", status, body)
	}
	w.cfg.Users["vera"].Environments = []string{"test"}
	if status, body := w.ask(http.MethodGet, "/api/v1/promotions", "vera", ""); status != http.StatusOK || strings.Count(body, `"target"`) != 1 || strings.Contains(body, "infra/zone") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := w.ask(http.MethodPost, "/api/v1/promotions", "vera", `{"from": "test", "to": "dns", "dryRun": true}`); status != http.StatusNotFound {
		t.Errorf("%d %s", status, body)
	}
}
