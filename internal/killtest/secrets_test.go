//go:build real

package killtest

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/cloudfake"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/servertest/sopsfile"
	"trueup.dev/trueup/internal/servertest/vault"
	"trueup.dev/trueup/internal/store"
)

// stores are the secret stores of every kind, with one canary in each.
type stores struct {
	canaries map[string]string // by scheme
	openers  []string          // what opens the stores
	config   string            // the part of server.yaml
	envs     string            // variables of an environment, one for each scheme
}

// everyStore sets the stores up; files go into dir.
func everyStore(t *testing.T, dir string) *stores {
	t.Helper()
	s := &stores{canaries: map[string]string{}}
	for _, scheme := range []string{"env", "file", "vault", "sops", "aws", "gcp", "azure", "command"} {
		s.canaries[scheme] = "canary-of-" + scheme + "-5d81f0"
	}
	keep := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KILLTEST_CANARY", s.canaries["env"])
	keep("canary", s.canaries["file"])

	v := vault.Start(t)
	v.API(t, "POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	v.API(t, "POST", "kv/config", map[string]any{"max_versions": 5}) // also waits for the upgrade to version 2
	v.API(t, "POST", "kv/data/tool", map[string]any{"data": map[string]any{"token": s.canaries["vault"]}})
	keep("vault-token", v.Root)

	id, key := sopsfile.Identity(t)
	keep("secrets.yaml", string(sopsfile.Encrypted(t, "secrets.yaml", "tool:\n  token: "+s.canaries["sops"]+"\n", key)))
	keep("age.key", id.String())

	aws := cloudfake.AWS(t, cloudfake.Secrets{"tool": s.canaries["aws"]})
	keep("aws-key", cloudfake.AWSKey)
	keep("aws-session", cloudfake.AWSSession)
	gcp, account := cloudfake.GCP(t, cloudfake.Secrets{"tool": s.canaries["gcp"]})
	keep("gcp.json", account)
	azure := cloudfake.Azure(t, cloudfake.Secrets{"tool": `{"token":"` + s.canaries["azure"] + `"}`})
	keep("azure-secret", cloudfake.AzureSecret)
	keep("azure-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: azure.Certificate().Raw})))
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "azure-ca.pem"))

	const opener = "canary-opens-the-command"
	keep("opener", opener)
	keep("print-secret", "#!/bin/sh\n[ \"$OPENER\" = "+opener+" ] && [ -z \"$KILLTEST_CANARY\" ] || exit 1\necho \"noise "+s.canaries["command"]+"\" >&2\necho "+s.canaries["command"]+"\n")

	lines := strings.Split(account, `\n`)
	s.openers = []string{v.Root, id.String(), cloudfake.AWSKey, cloudfake.AWSSession, lines[1], cloudfake.AzureSecret, cloudfake.Token, opener}
	s.config = fmt.Sprintf(`secrets:
  vault: {address: %q, auth: {token: "file:vault-token"}}
  sops: {age: "file:age.key"}
  aws: {region: eu-west-1, endpoint: %q, accessKeyId: %s, secretKey: "file:aws-key", sessionToken: "file:aws-session"}
  gcp: {project: p1, endpoint: %q, key: "file:gcp.json"}
  azure: {vault: %q, authority: %q, tenant: tenant1, client: client1, secret: "file:azure-secret"}
  command: {args: [%s/print-secret], env: {OPENER: "file:opener"}}
`, v.URL, aws.URL, cloudfake.AWSKeyID, gcp.URL, azure.URL, azure.URL, dir)
	s.envs = `{S_ENV: "env:KILLTEST_CANARY", S_FILE: "file:canary", S_VAULT: "vault:kv/tool#token", S_SOPS: "sops:secrets.yaml#tool.token",` +
		` S_AWS: "aws:tool", S_GCP: "gcp:tool", S_AZURE: "azure:tool#token", S_COMMAND: "command:tool"}`
	return s
}

// leakyTool says all it knows wherever it can: in its plan, in its log, in its
// error, in its outputs.
const leakyTool = `#!/bin/sh
# leaky plan|apply|outputs DIR
set -eu
dir=$2
all="$S_ENV $S_FILE $S_VAULT $S_SOPS $S_AWS $S_GCP $S_AZURE $S_COMMAND"
cat "/proc/$$/environ" >"$dir/environment-$1"
echo "the $1 begins with $all" >&2
case $1 in
plan)
  if cmp -s wanted "$dir/state"; then
    echo '{"version": 1, "changes": [], "objects": [{"address": "it", "kind": "thing"}]}'
  else
    printf '{"version": 1, "changes": [{"address": "it", "kind": "thing", "action": "update", "before": {"t": "%s"}, "after": {"t": "%s", "%s": 1}, "note": "%s"}], "warnings": ["%s"]}\n' "$all" "$all" "$S_AWS" "$all" "$all"
  fi ;;
apply)
  for s in $all; do echo "uses $s"; done
  if grep -q fail wanted; then echo "failed with $all" >&2; exit 3; fi
  cp wanted "$dir/state" ;;
outputs) printf '{"all": {"value": "%s"}}\n' "$all" ;;
esac
`

// inbox is a receiver of notifications.
type inbox struct {
	mu   sync.Mutex
	text strings.Builder
}

func (i *inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	i.mu.Lock()
	defer i.mu.Unlock()
	fmt.Fprintf(&i.text, "%v %s\n", r.Header, body)
}

func (i *inbox) String() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.text.String()
}

const leakyConfig = `version: 1
%[1]slimits: {retryMin: 100ms, retryMax: 300ms}
repositories:
  infra: {url: %[2]q, branch: main, poll: 1s}
notify:
  - {on: [failed, recovered, held, drift, flapping], to: %[3]q}
policies:
  open: {driftInterval: 1h, guard: {update: 10, replace: 10, delete: 10}}
environments:
  tool:
    driver: exec
    policy: open
    connect:
      plan: [%[4]s/leaky, plan, %[4]s]
      apply: [%[4]s/leaky, apply, %[4]s]
      outputs: [%[4]s/leaky, outputs, %[4]s]
      env: {GIVEN: as-it-is}
      secrets: %[5]s
    allow: [{repository: infra}]
`

// TestSecretsOfEveryStoreShowNowhere: a tool that leaks secrets from every
// store there is, in a run that succeeds and in one that fails, and what is
// left of them in all that trueup keeps and says.
func TestSecretsOfEveryStoreShowNowhere(t *testing.T) {
	dir := t.TempDir()
	all := everyStore(t, dir)
	mail := &inbox{}
	post := httptest.NewServer(mail)
	t.Cleanup(post.Close)
	if err := os.WriteFile(filepath.Join(dir, "leaky"), []byte(leakyTool), 0o700); err != nil {
		t.Fatal(err)
	}
	repo := gitserver.NewRepoAt(t, filepath.Join(dir, "infra"))
	repo.Write("trueup.yaml", "version: 1\ntargets:\n  - {name: it, environment: tool, path: it, outputs: {all: {}}}\n", "it/wanted", "one\n").Commit("one")
	s := newServer(t, dir, "one", fmt.Sprintf(leakyConfig, all.config, repo.Dir, post.URL+"/hook", dir, all.envs))
	s.start()
	s.ready()
	ledger := sqliteLedger(t, s.dir)
	t.Cleanup(func() {
		if t.Failed() {
			for _, args := range [][]string{{"status"}, {"show", "infra/it"}, {"logs", "infra/it"}} {
				text, _ := s.cli(args...)
				t.Logf("trueup %v:\n%s", args, text)
			}
		}
	})
	until := func(what string, state store.RunState, wanted string) {
		eventually(t, time.Minute, what, func() bool {
			runs := ledger.runs()
			got, _ := os.ReadFile(filepath.Join(dir, "state"))
			return len(runs) > 0 && runs[len(runs)-1].State == state && string(got) == wanted
		})
	}
	until("the first run succeeds", store.RunSucceeded, "one\n")
	exactEnvironment(t, dir, all)
	repo.Write("it/wanted", "fail\n").Commit("fail")
	until("the second run fails", store.RunFailed, "one\n")
	eventually(t, time.Minute, "the failure is told", func() bool { return strings.Contains(mail.String(), "failed") })
	said := s.everything(t, ledger)
	repo.Write("it/wanted", "two\n").Commit("two")
	until("the third run succeeds", store.RunSucceeded, "two\n")
	said["notifications"] = mail.String()
	s.stop(30 * time.Second)
	s.kept(t, said)
	if !strings.Contains(said["logs"], "uses ***") || !strings.Contains(said["error"], "failed with ***") {
		t.Errorf("the log is %s\nthe error is %s", said["logs"], said["error"])
	}
	for where, text := range said {
		for _, canary := range slices.Concat(values(all.canaries), all.openers) {
			if strings.Contains(text, canary) {
				t.Errorf("%s shows up in: %s", canary, where)
			}
		}
	}
	t.Logf("looked into %d texts", len(said))
}

func values(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// exactEnvironment compares what the tool was started with.
func exactEnvironment(t *testing.T, dir string, all *stores) {
	t.Helper()
	for _, command := range []string{"plan", "apply", "outputs"} {
		raw, err := os.ReadFile(filepath.Join(dir, "environment-"+command))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, v := range strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00") {
			name, value, _ := strings.Cut(v, "=")
			got[name] = value
		}
		want := map[string]string{"GIVEN": "as-it-is", "LANG": "C.UTF-8", "TRUEUP_TARGET": "infra/it", "TRUEUP_COMMAND": command}
		for scheme, canary := range all.canaries {
			want["S_"+strings.ToUpper(scheme)] = canary
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, not %q", command, name, got[name], value)
			}
			delete(got, name)
		}
		for _, name := range strings.Fields("HOME TMPDIR PATH TRUEUP_MODE TRUEUP_ACTIONS TRUEUP_CHANGES TRUEUP_ENTRY TRUEUP_OWNED TRUEUP_PATH TRUEUP_PLAN TRUEUP_REPORT TRUEUP_ROOT TRUEUP_VALUES") {
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("%s: the environment also holds %v", command, got)
		}
	}
}

// everything asks the running server all there is to ask.
func (s *server) everything(t *testing.T, l *ledger) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, args := range [][]string{{"status"}, {"show", "infra/it"}, {"get", "targets"}, {"get", "runs"}, {"history", "tool"}, {"why", "tool", "it"}, {"logs", "infra/it"}, {"doctor"},
		{"plan", "infra/it"}} {
		text, _ := s.cli(args...) // how it ends is not the question
		whole, _ := s.cli(append(args, "-o", "json")...)
		out[strings.Join(args, " ")], out[strings.Join(args, " ")+" as JSON"] = text, whole
	}
	events, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	seen := errors.New("enough")
	err := s.client.Events(events, 0, func(e store.Event) error {
		out["events"] += fmt.Sprintf("%s %s %s %s\n", e.Kind, e.Target, e.Actor, e.Data)
		if e.Kind == "run.failed" || strings.Contains(string(e.Data), "failed") {
			return seen
		}
		return nil
	})
	if !errors.Is(err, seen) {
		t.Errorf("the events do not tell of the failure: %v\n%s", err, out["events"])
	}
	for _, r := range l.runs() {
		text, err := s.cli("logs", r.ID)
		if err != nil {
			t.Errorf("logs %s: %v %s", r.ID, err, text)
		}
		out["logs"] += text
		shown, err := s.client.Run(t.Context(), r.ID)
		if err != nil {
			t.Errorf("run %s: %v", r.ID, err)
		}
		planned, err := s.client.Plan(t.Context(), r.ID)
		if err != nil {
			t.Errorf("plan of %s: %v", r.ID, err)
		}
		whole, err := json.Marshal([]any{shown, planned})
		if err != nil {
			t.Error(err)
		}
		out["every run and its plan"] += string(whole) + fmt.Sprintf("%+v", planned)
		out["error"] += r.Error + "\n"
	}
	return out
}

// kept reads the server's log and every file that it keeps.
func (s *server) kept(t *testing.T, into map[string]string) {
	t.Helper()
	log, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	into["the server's log"] = string(log)
	files := 0
	err = filepath.WalkDir(s.dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(p)
		into[p], files = string(body), files+1
		return err
	})
	if kept := into[filepath.Join(s.dir, "trueup.db")] + into[filepath.Join(s.dir, "trueup.db-wal")]; err != nil || !strings.Contains(kept, "uses ***") {
		t.Errorf("%d files were read, and the database is not as expected: %v", files, err)
	}
}
