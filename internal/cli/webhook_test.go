package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/cli"
)

const (
	hookSecret = "hook-canary-0123456789abcdef"
	forgeToken = "tok-canary-0123456789abcdef"
)

// operator writes a server.yaml with one repository on Gitea at base, and
// gives its path.
func operator(t *testing.T, base, project, token, more string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": token, "hook": hookSecret, "server.yaml": fmt.Sprintf(`version: 1
dataDir: data
listen: {http: "127.0.0.1:0", publicURL: "https://trueup.example"}
repositories:
  infra:
    url: %s/%s.git
    branch: main
    webhookSecrets: ["file:hook"]
    forge: {gitea: {token: "file:token"}}
%s`, base, project, more)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "server.yaml")
}

// run runs the program and makes sure that no secret shows.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &out, &errs)
	for _, s := range []string{hookSecret, forgeToken} {
		if strings.Contains(out.String()+errs.String(), s) {
			t.Errorf("%s shows a secret:\n%s%s", args[0], &out, &errs)
		}
	}
	return code, out.String(), errs.String()
}

// findings gives what doctor says about the forge, by check: "state: found".
func findings(t *testing.T, conf string) map[string]string {
	t.Helper()
	_, out, errs := run(t, "doctor", "--config", conf, "-o", "json")
	var report struct {
		Findings []struct{ Check, State, Found, Mend string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	got := map[string]string{}
	for _, f := range report.Findings {
		if rest, ok := strings.CutPrefix(f.Check, "repository infra forge"); ok {
			got[strings.TrimSpace(rest)] += f.State + ": " + f.Found + " → " + f.Mend + "\n"
		}
	}
	return got
}

// giteaFake is as much of Gitea as doctor and webhook ask for.
type giteaFake struct {
	admin    bool
	hooks    string
	branch   string
	status   int // of every answer, 0 for well
	posted   string
	deleted  []string
	notAdmin bool // webhooks are refused
}

func (g *giteaFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1")
	switch {
	case g.status != 0:
		w.WriteHeader(g.status)
	case r.Header.Get("Authorization") != "token "+forgeToken:
		w.WriteHeader(http.StatusUnauthorized)
	case path == "/user":
		fmt.Fprint(w, `{"login":"trueup-bot"}`)
	case path == "/repos/acme/infra":
		fmt.Fprintf(w, `{"default_branch":"main","permissions":{"admin":%t,"push":true,"pull":true}}`, g.admin)
	case strings.HasPrefix(path, "/repos/acme/infra/hooks") && g.notAdmin:
		w.WriteHeader(http.StatusForbidden)
	case path == "/repos/acme/infra/hooks" && r.Method == http.MethodGet:
		fmt.Fprint(w, g.hooks)
	case path == "/repos/acme/infra/hooks":
		b, _ := io.ReadAll(r.Body)
		g.posted = string(b)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"id":9,"active":true,"config":{"url":"https://trueup.example/webhook/infra"},"events":["push"]}`)
	case r.Method == http.MethodDelete:
		g.deleted = append(g.deleted, filepath.Base(path))
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "/repos/acme/infra/branches/"):
		fmt.Fprint(w, g.branch)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

const (
	goodHook   = `{"id":1,"active":true,"config":{"url":"https://trueup.example/webhook/infra"},"events":["push","pull_request","pull_request_comment","pull_request_review","pull_request_sync"]}`
	otherHook  = `{"id":2,"active":true,"config":{"url":"https://chat.example/in?key=sesame"},"events":["push"]}`
	goodBranch = `{"enable_status_check":true,"status_check_contexts":["ci","trueup/plan"]}`
)

func TestDoctorChecksTheForge(t *testing.T) {
	for name, c := range map[string]struct {
		fake  giteaFake
		token string
		want  map[string]string // by check, parts of the finding
	}{
		"well": {giteaFake{admin: true, hooks: "[" + otherHook + "," + goodHook + "]", branch: goodBranch}, "",
			map[string]string{"": "ok: Gitea knows acme/infra as trueup-bot", "webhook": "ok: it calls https://trueup.example/webhook/infra", "protection": "ok: branch main waits for trueup/plan"}},
		"no webhook, no protection": {giteaFake{admin: true, hooks: "[" + otherHook + "]", branch: `{}`}, "",
			map[string]string{"webhook": "run `trueup webhook install infra`", "protection": "warning: branch main can be merged before"}},
		"switched off":         {giteaFake{admin: true, hooks: strings.Replace("["+goodHook+"]", `"active":true`, `"active":false`, 1), branch: goodBranch}, "", map[string]string{"webhook": "warning: the webhook is switched off"}},
		"half the events":      {giteaFake{admin: true, hooks: strings.Replace("["+goodHook+"]", `"pull_request_comment",`, "", 1), branch: goodBranch}, "", map[string]string{"webhook": "leaves out pull_request_comment"}},
		"a status nobody sets": {giteaFake{admin: true, hooks: "[" + goodHook + "]", branch: `{"enable_status_check":true,"status_check_contexts":["trueup/plan","trueup/paln"]}`}, "", map[string]string{"protection": "failed: branch main waits for trueup/paln"}},
		"apply required":       {giteaFake{admin: true, hooks: "[" + goodHook + "]", branch: `{"enable_status_check":true,"status_check_contexts":["trueup/apply"]}`}, "", map[string]string{"protection": "which is set after the merge"}},
		"a pattern":            {giteaFake{admin: true, hooks: "[" + goodHook + "]", branch: `{"enable_status_check":true,"status_check_contexts":["trueup/*"]}`}, "", map[string]string{"protection": "ok: branch main waits"}},
		"no administrator":     {giteaFake{notAdmin: true, branch: goodBranch}, "", map[string]string{"": "lacks administration of acme/infra", "webhook": "it can't be checked"}},
		"wrong token":          {giteaFake{}, "expired-token-0000", map[string]string{"": "failed: Gitea: the account of the token"}},
		"down":                 {giteaFake{status: 503}, "", map[string]string{"": "check `url:`, the network"}},
		"no such repository":   {giteaFake{status: 404}, "", map[string]string{"": "check `project:`"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(&c.fake)
			defer srv.Close()
			token := forgeToken
			if c.token != "" {
				token = c.token
			}
			got := findings(t, operator(t, srv.URL, "acme/infra", token, ""))
			for check, part := range c.want {
				if !strings.Contains(got[check], part) {
					t.Errorf("%q: %q does not say %q", check, got[check], part)
				}
			}
		})
	}
}

func TestWebhookCommands(t *testing.T) {
	fake := &giteaFake{admin: true, hooks: "[" + otherHook + "," + goodHook + "]"}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	conf := operator(t, srv.URL, "acme/infra", forgeToken, "  plain: {url: /srv/git/plain.git}\n")

	code, out, errs := run(t, "webhook", "install", "infra", "--config", conf)
	if code != 0 || !strings.Contains(out, "Gitea calls https://trueup.example/webhook/infra") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	for _, part := range []string{`"secret":"` + hookSecret, `"url":"https://trueup.example/webhook/infra"`, `"content_type":"json"`} {
		if !strings.Contains(fake.posted, part) {
			t.Errorf("the webhook lacks %s: %s", part, fake.posted)
		}
	}
	if len(fake.deleted) != 1 || fake.deleted[0] != "1" {
		t.Errorf("the old webhook stays, or another one went: %v", fake.deleted)
	}
	code, out, _ = run(t, "webhook", "list", "infra", "--config", conf, "-o", "json")
	if code != 0 || strings.Count(out, `"ours": true`) != 1 || strings.Contains(out, "sesame") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ = run(t, "webhook", "list", "infra", "--config", conf); code != 0 || !strings.Contains(out, "this server") || strings.Contains(out, "sesame") {
		t.Errorf("%d %s", code, out)
	}
	fake.deleted = nil
	if code, _, errs = run(t, "webhook", "delete", "infra", "--config", conf); code != 0 || len(fake.deleted) != 1 || fake.deleted[0] != "1" {
		t.Errorf("%d %v %s", code, fake.deleted, errs)
	}
	if code, _, _ = run(t, "webhook", "delete", "infra", "--id", "2", "--config", conf); code != 0 || fake.deleted[1] != "2" {
		t.Errorf("%d %v", code, fake.deleted)
	}
	fake.hooks = "[]"
	for part, args := range map[string][]string{
		"has no webhook with the address": {"delete", "infra"},
		"no repository \"nope\"":          {"list", "nope"},
		"add forge:":                      {"install", "plain"},
		"write the whole address":         {"install", "infra", "--url", "trueup.example"},
	} {
		if code, _, errs := run(t, append(append([]string{"webhook"}, args...), "--config", conf)...); code != 1 || !strings.Contains(errs, part) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
	fake.notAdmin = true
	if code, _, errs := run(t, "webhook", "list", "infra", "--config", conf); code != 1 || !strings.Contains(errs, "the right to manage webhooks") {
		t.Errorf("%d %s", code, errs)
	}
}
