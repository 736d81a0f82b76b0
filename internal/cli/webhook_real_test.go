//go:build real

package cli_test

import (
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitea"
)

// TestWebhookOnGitea sets up a webhook on a real Gitea and looks at it there;
// doctor sees each step.
func TestWebhookOnGitea(t *testing.T) {
	s := gitea.Start(t)
	bot := s.User("trueup-bot")
	s.Org("acme")
	repo := s.Repo("acme/infra", nil)
	s.Collaborate(repo, bot, "admin")
	conf := operator(t, s.URL, repo, bot.Token, "")
	hooks := func() (list []struct {
		Active bool
		Config map[string]string
		Events []string
	}) {
		t.Helper()
		if err := s.Admin.API("GET", "/repos/"+repo+"/hooks", nil, &list); err != nil {
			t.Fatal(err)
		}
		return list
	}

	before := findings(t, conf)
	if !strings.HasPrefix(before[""], "ok: Gitea knows acme/infra as trueup-bot") || !strings.Contains(before["webhook"], "none of the 0 webhooks") || !strings.Contains(before["protection"], "can be merged before its plan is known") {
		t.Errorf("before: %q", before)
	}
	for range 2 { // the second time brings it up to date
		if code, out, errs := run(t, "webhook", "install", "infra", "--config", conf); code != 0 {
			t.Fatalf("%d %s%s", code, out, errs)
		}
	}
	if h := hooks(); len(h) != 1 || !h[0].Active || h[0].Config["url"] != "https://trueup.example/webhook/infra" || h[0].Config["content_type"] != "json" {
		t.Errorf("on the server: %+v", h)
	}
	s.Protect(repo, gitea.Protection{Branch: "main", Statuses: []string{"trueup/plan", "trueup/typo"}})
	after := findings(t, conf)
	if !strings.HasPrefix(after["webhook"], "ok: it calls") || !strings.Contains(after["protection"], "ok: branch main waits for trueup/plan") || !strings.Contains(after["protection"], "failed: branch main waits for trueup/typo") {
		t.Errorf("after: %q", after)
	}
	if code, _, errs := run(t, "webhook", "delete", "infra", "--config", conf); code != 0 || len(hooks()) != 0 {
		t.Errorf("%d %s; %s", code, errs, fmt.Sprint(hooks()))
	}
}
