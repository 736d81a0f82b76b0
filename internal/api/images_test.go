package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

func (f *fakeActions) Images(_ context.Context, only []string) ([]edit.Followed, error) {
	return []edit.Followed{{Target: "infra/zone", Environment: "dns"}, {Target: "infra/x", Environment: "test"}, {Target: "infra/x", Environment: "test"}},
		f.did(append([]string{"images"}, only...)...)
}

func (f *fakeActions) CheckImages(_ context.Context, by store.Actor, c edit.Check) ([]edit.Followed, error) {
	all, err := f.Images(context.Background(), c.Only)
	return all, errors.Join(err, f.did("check", string(by), strings.Join(c.Only, " "), fmt.Sprint(c.DryRun)))
}

// TestImages: looking is for everybody, asking registries for operators; what
// the caller can't see is neither shown nor asked for.
func TestImages(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		user, body string
		status     int
		targets    int
	}{
		{"otto", `{}`, http.StatusOK, 3}, {"otto", `{"only": ["x"], "dryRun": true}`, http.StatusOK, 3}, {"tess", `{}`, http.StatusOK, 2},
		{"vera", `{"dryRun": true}`, http.StatusForbidden, 0}, {"otto", `{"olny": []}`, http.StatusBadRequest, 0}, {"", `{}`, http.StatusUnauthorized, 0},
	} {
		status, body := w.ask(http.MethodPost, "/api/v1/images/check", c.user, c.body)
		if status != c.status || strings.Count(body, `"target"`) != c.targets {
			t.Errorf("%s %s: %d %s", c.user, c.body, status, body)
		}
	}
	if calls := strings.Join(w.actions.list(), "\n"); !strings.Contains(calls, "check user:tess infra/x false") || !strings.Contains(calls, "check user:otto infra/zone infra/x true") {
		t.Errorf("%s", calls)
	}
	for user, n := range map[string]int{"vera": 3, "tess": 2} {
		if status, body := w.ask(http.MethodGet, "/api/v1/images?target=a&target=b", user, ""); status != http.StatusOK || strings.Count(body, `"target"`) != n {
			t.Errorf("%s: %d %s", user, status, body)
		}
	}
}
