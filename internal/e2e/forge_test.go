//go:build real

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/servertest/gitea"
)

// The people of the story: paul proposes, sara may approve, vera looks on,
// dora owns the zone, eve has a fork, and the bot is trueup's own account.
type people struct{ bot, paul, sara, vera, dora, eve *gitea.Account }

// world is a Gitea with a repository, a DNS server, and trueup between them.
type world struct {
	t *testing.T
	people
	*trueup
	forge  *gitea.Server
	dns    *dnsserver.Server
	repo   string
	secret string // of the webhook
}

const manifest = `version: 1
targets:
  - { name: zone, environment: dns-public, path: dns/example.test.zone, spec: { zone: example.test } }
`

const zoneHead = "$ORIGIN example.test.\n$TTL 300\n"

// zone is the zone file: team-a's own names and the hosts that all share.
func zone(teamA []string, shared int, more ...string) string {
	text := zoneHead
	for _, line := range teamA {
		text += line + "\n"
	}
	for i := range shared {
		text += fmt.Sprintf("h%02d A 192.0.2.%d\n", i, i+1)
	}
	return text + strings.Join(append(more, ""), "\n")
}

const serverYAML = `version: 1
listen: { http: "127.0.0.1:%[1]d", publicURL: "http://127.0.0.1:%[1]d" }
limits: { retryMin: 200ms, retryMax: 2s }
repositories:
  infra:
    url: "%[2]s/%[3]s.git"
    branch: main
    poll: %[4]s
    credentials: { username: %[5]s, token: "env:FORGE_TOKEN" }
    forge: { gitea: { token: "env:FORGE_TOKEN" } }
    webhookSecrets: ["env:HOOK_SECRET"]
    pullRequests: { applyBeforeMerge: true }
policies:
  dns:
    approve:
      # What a team adds to its own names is nobody else's business.
      - when: >-
          author != '' && plan.actions == ['create'] && plan.writes <= 3 &&
          plan.changes.all(c, c.address.contains('.team-a.example.test./'))
        by: auto
      - { by: [codeowners, "team:sre"], reviews: true, notAuthor: true }
users:
  sara: { role: approver, teams: [sre], gitea: sara }
  vera: { role: viewer, gitea: vera }
  %[7]s: { role: admin, teams: [sre] }
environments:
  dns-public:
    driver: dns
    policy: dns
    connect: { server: %[6]q, zone: example.test, tsig: "file:tsig", timeout: 20s }
    allow: [{ repository: infra, paths: [dns/**] }]
`

func newWorld(t *testing.T, name, poll string) *world {
	t.Helper()
	f := forgeServer.For(t)
	w := &world{t: t, forge: f, repo: "acme/" + name, secret: "canary-hook-secret-4711"}
	w.people = everybody(f)
	w.dns = dnsserver.BIND(t, dnsserver.Zone{Name: "example.test"}, dnsserver.Zone{Name: "hand.test"})
	f.Repo(w.repo, map[string]string{"trueup.yaml": manifest, "dns/example.test.zone": zone([]string{"www.team-a A 192.0.2.100"}, 20),
		"CODEOWNERS": "dns/.* @dora\n", "README.md": "Zones.\n"})
	f.Collaborate(w.repo, w.bot, "admin")
	for _, a := range []*gitea.Account{w.paul, w.sara, w.vera, w.dora} {
		f.Collaborate(w.repo, a, "write")
	}
	port := freePort(t)
	w.trueup = newTrueup(t, fmt.Sprintf(serverYAML, port, f.URL, w.repo, poll, w.bot.Name, w.dns.Addr, operator(t)), "FORGE_TOKEN="+w.bot.Token, "HOOK_SECRET="+w.secret)
	if err := os.WriteFile(filepath.Join(w.trueup.dir, "tsig"), []byte(w.dns.Key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.must("webhook", "install", "infra")
	w.begin()
	return w
}

// begin approves the first state by hand, and from then on the forge asks for
// the plan's status before a merge.
func (w *world) begin() {
	w.t.Helper()
	w.approveHeld()
	eventually(w.t, "the first state is applied", func() error { return w.answers("www.team-a", "192.0.2.100") })
	w.synced()
	w.forge.Protect(w.repo, gitea.Protection{Branch: "main", Statuses: []string{"trueup/plan"}})
}

var shared *people

// everybody makes the accounts, once for all tests.
func everybody(f *gitea.Server) people {
	if shared == nil {
		f.Org("acme")
		shared = &people{f.User("trueup-bot"), f.User("paul"), f.User("sara"), f.User("vera"), f.User("dora"), f.User("eve")}
	}
	return *shared
}

// operator is who runs the test and calls over the socket.
func operator(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// propose commits files onto a new branch and opens a pull request.
func (w *world) propose(by *gitea.Account, branch, title string, files map[string]string) (number int, head string) {
	w.t.Helper()
	head = by.Commit(w.repo, "main", branch, title, files)
	return by.Pull(w.repo, branch, "main", title), head
}

// status gives the newest status of a commit under a context.
func (w *world) status(commit, context string) (state, text string) {
	w.t.Helper()
	var list []struct {
		Status, Context, Description string
		ID                           int64
	}
	if err := w.forge.Admin.API("GET", fmt.Sprintf("/repos/%s/commits/%s/statuses?sort=recentupdate&limit=10", w.repo, commit), nil, &list); err != nil {
		return "", err.Error()
	}
	newest := int64(0)
	for _, s := range list {
		if s.Context == context && s.ID > newest {
			newest, state, text = s.ID, s.Status, s.Description
		}
	}
	return state, text
}

func (w *world) hasStatus(commit, context, state string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("status %s is %s on %.8s", context, state, commit), func() error {
		have, text := w.status(commit, context)
		if have != state {
			return fmt.Errorf("it is %q: %s", have, text)
		}
		return nil
	})
}

type comment struct {
	ID   int64
	Body string
	User struct{ Login string }
}

// said gives trueup's comments on a pull request.
func (w *world) said(number int) []comment {
	w.t.Helper()
	var all, own []comment
	if err := w.forge.Admin.API("GET", fmt.Sprintf("/repos/%s/issues/%d/comments", w.repo, number), nil, &all); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range all {
		if c.User.Login == w.bot.Name {
			own = append(own, c)
		}
	}
	return own
}

// planMark begins the comment with the plan.
const planMark = "<!-- trueup:plan:"

// comment waits until trueup's comment with the plan holds the parts, and
// gives it.
func (w *world) comment(number int, parts ...string) comment {
	w.t.Helper()
	var c comment
	eventually(w.t, fmt.Sprintf("the comment on %d says %q", number, parts), func() error {
		for _, c = range w.said(number) {
			if strings.HasPrefix(c.Body, planMark) {
				return want(c.Body, parts...)
			}
		}
		return fmt.Errorf("there is none")
	})
	return c
}

// answered waits until some answer of trueup holds the parts.
func (w *world) answered(number int, parts ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("an answer on %d says %q", number, parts), func() error {
		text := ""
		for _, c := range w.said(number) {
			if !strings.HasPrefix(c.Body, planMark) {
				text += c.Body + "\n----\n"
				if want(c.Body, parts...) == nil {
					return nil
				}
			}
		}
		return fmt.Errorf("answers:\n%s", text)
	})
}

// refused waits for the thumb down under a comment.
func (w *world) refused(id int64) {
	w.t.Helper()
	eventually(w.t, "the command is refused", func() error {
		var all []struct {
			Content string
			User    struct{ Login string }
		}
		if err := w.forge.Admin.API("GET", fmt.Sprintf("/repos/%s/issues/comments/%d/reactions", w.repo, id), nil, &all); err != nil {
			return err
		}
		for _, r := range all {
			if r.Content == "-1" && r.User.Login == w.bot.Name {
				return nil
			}
		}
		return fmt.Errorf("reactions: %v", all)
	})
}

// merge merges and gives the merge commit.
func (w *world) merge(by *gitea.Account, number int) string {
	w.t.Helper()
	// The comment comes a moment before the status that the merge asks for.
	eventually(w.t, "the merge", func() error { return by.Merge(w.repo, number) })
	var pr struct {
		Commit string `json:"merge_commit_sha"`
	}
	if err := w.forge.Admin.API("GET", fmt.Sprintf("/repos/%s/pulls/%d", w.repo, number), nil, &pr); err != nil || pr.Commit == "" {
		w.t.Fatalf("the merge commit of %d: %q %v", number, pr.Commit, err)
	}
	return pr.Commit
}

// answers asks the DNS server.
func (w *world) answers(name, address string) error {
	out, err := w.dns.Dig("+short", name+".example.test", "A")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != address {
		return fmt.Errorf("%s answers %q, want %q", name, got, address)
	}
	return nil
}

// held waits until the target waits for a decision and gives the plan's hash.
func (w *world) held(parts ...string) string {
	w.t.Helper()
	hash := ""
	eventually(w.t, fmt.Sprintf("held: %q", parts), func() error {
		out, err := w.cli("show", "infra/zone")
		if err != nil {
			return err
		}
		if err := want(out, append([]string{"trueup approve infra/zone "}, parts...)...); err != nil {
			return err
		}
		_, rest, _ := strings.Cut(out, "trueup approve infra/zone ")
		hash = strings.Fields(rest)[0]
		return nil
	})
	return hash
}

// approveHeld lets the operator, who is in team sre, approve what waits.
func (w *world) approveHeld() {
	w.t.Helper()
	w.must("approve", "infra/zone", w.held())
}

func (w *world) synced() {
	w.t.Helper()
	eventually(w.t, "synced", func() error {
		out, err := w.cli("get", "targets")
		if err != nil {
			return err
		}
		return want(out, "infra/zone", "synced")
	})
}
