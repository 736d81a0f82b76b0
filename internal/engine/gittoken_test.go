package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
)

// appForge has a token for git that changes, as a GitHub App has.
type appForge struct {
	*forgetest.Forge
	token *atomic.Int64
}

func (f appForge) GitToken(context.Context) (secret.Value, error) {
	return secret.New(fmt.Sprintf("ghs_canary%d", f.token.Load())), nil
}

// TestAppsTokenOpensGit: without credentials for git, a GitHub App's token is
// used, and the new one when it changed.
func TestAppsTokenOpensGit(t *testing.T) {
	w := newWorld(t)
	var token atomic.Int64
	srv := gitserver.StartHTTP(t, gitserver.HTTPOptions{Root: w.dir})
	srv.Extra = func(rw http.ResponseWriter, r *http.Request) bool {
		user, pass, _ := r.BasicAuth()
		if user == "x-access-token" && pass == fmt.Sprintf("ghs_canary%d", token.Load()) {
			return false
		}
		rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(rw, "who are you", http.StatusUnauthorized)
		return true
	}
	f := appForge{forgetest.New("acme/infra"), &token}
	w.forges = forge.Registry{"github": func(context.Context, forge.Options) (forge.Forge, error) { return f, nil }}
	t.Setenv("TRUEUP_TEST_APP_KEY", "key")
	w.config = strings.Replace(w.config, fmt.Sprintf("{url: %s/origin.git, branch: main, poll: 1s}", w.dir),
		fmt.Sprintf(`{url: %s/origin.git, branch: main, poll: 1s, forge: {github: {appId: 1, key: "env:TRUEUP_TEST_APP_KEY", project: acme/infra}}}`, srv.URL), 1)
	c1 := w.push(map[string]string{"trueup.yaml": baseManifest, "web/a": "one\n"})
	w.start()
	w.synced("infra/site", c1)
	token.Add(1)
	c2 := w.push(map[string]string{"web/a": "two\n"})
	w.synced("infra/site", c2)
	if got := w.file("a"); got != "two\n" {
		t.Errorf("%s holds %q", filepath.Join(w.dir, "site", "a"), got)
	}
}
