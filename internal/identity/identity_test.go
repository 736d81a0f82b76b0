package identity

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/source/forge"
)

const operator = `
version: 1
repositories:
  infra: { url: "https://git.example.com/acme/infra.git", forge: { gitea: { token: "env:T" } } }
  apps: { url: "https://git.example.com/acme/apps.git", forge: { gitea: { token: "env:T" } } }
  other: { url: "https://elsewhere.example.org/acme/other.git", forge: { gitea: { token: "env:T" } } }
  hub: { url: "git@github.com:acme/hub.git", forge: { github: { token: "env:T" } } }
  plain: { url: /srv/plain.git }
users:
  alice: { role: approver, teams: [sre], gitea: ["alice-g@git.example.com", "al@elsewhere.example.org"], github: alice-gh }
  bob: { role: operator, environments: [dev], gitea: "bob@git.example.com" }
  vera: { role: viewer, github: vera }
`

// fakeForge knows the members of teams and answers or fails as told.
type fakeForge struct {
	forge.Forge
	members map[string][]string
	perm    map[string]forge.Permission
	err     error
	asked   int
}

func (f *fakeForge) InTeam(_ context.Context, team, user string) (bool, error) {
	f.asked++
	for _, m := range f.members[team] {
		if m == user {
			return true, f.err
		}
	}
	return false, f.err
}

func (f *fakeForge) Permission(_ context.Context, user string) (forge.Permission, error) {
	f.asked++
	return f.perm[user], f.err
}

type fakeForges map[string]*fakeForge

func (f fakeForges) Forge(_ context.Context, repository string) (forge.Forge, error) {
	if one, ok := f[repository]; ok {
		return one, nil
	}
	return nil, errors.New("no such forge")
}

type world struct {
	*Directory
	forges fakeForges
	now    time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg, diags := config.ParseServer("server.yaml", []byte(operator), "/", nil)
	if cfg == nil {
		t.Fatal(diags)
	}
	w := &world{forges: fakeForges{}, now: time.Unix(1e9, 0)}
	for name := range cfg.Repositories {
		w.forges[name] = &fakeForge{members: map[string][]string{}, perm: map[string]forge.Permission{}}
	}
	w.Directory = New(func() *config.Server { return cfg }, w.forges, func() time.Time { return w.now })
	return w
}

func (w *world) who(t *testing.T, repository, login string) Person {
	t.Helper()
	p, err := w.OnForge(repository, login)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoginsMeanSomebodyOnTheirServerAlone(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ repository, login, actor string }{
		{"infra", "alice-g", "user:alice"},
		{"apps", "ALICE-G", "user:alice"},
		{"infra", "al", "gitea:al"},
		{"other", "al", "user:alice"},
		{"other", "alice-g", "gitea:alice-g"},
		{"hub", "alice-gh", "user:alice"},
		{"hub", "alice", "github:alice"},
		{"infra", "alice", "gitea:alice"},
		// The Kelvin sign folds to k in Unicode; on no forge it is one.
		{"infra", "alice\u212a", "gitea:alice\u212a"},
	} {
		if got := w.who(t, c.repository, c.login); string(got.Actor) != c.actor || got.Known() != strings.HasPrefix(c.actor, "user:") {
			t.Errorf("%s on %s is %s, want %s", c.login, c.repository, got.Actor, c.actor)
		}
	}
	for _, c := range [][2]string{{"plain", "alice"}, {"none", "alice"}, {"infra", ""}} {
		if _, err := w.OnForge(c[0], c[1]); err == nil {
			t.Errorf("%v is somebody", c)
		}
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	prod, dev := auth.Object{Environment: "prod"}, auth.Object{Environment: "dev"}
	for _, c := range []struct {
		repository, login string
		verb              auth.Verb
		at                auth.Object
		ok                bool
	}{
		{"infra", "alice-g", auth.Approve, prod, true},
		{"infra", "bob", auth.Approve, dev, false},
		{"infra", "bob", auth.Sync, dev, true},
		{"infra", "bob", auth.Sync, prod, false},
		{"hub", "vera", auth.Sync, dev, false},
		{"infra", "mallory", auth.Sync, dev, false},
	} {
		err := w.who(t, c.repository, c.login).May(c.verb, c.at)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, auth.ErrDenied) {
			t.Errorf("%s %s in %s: %v", c.login, c.verb, c.at.Environment, err)
		}
	}
}

func TestListsAndForgeTeams(t *testing.T) {
	w := newWorld(t)
	w.forges["infra"].members["acme/sre"] = []string{"carol"}
	w.forges["other"].members["acme/ops"] = []string{"al", "carol"}
	w.forges["infra"].perm["carol"] = forge.CanWrite
	for _, c := range []struct {
		login string
		list  []string
		ok    bool
	}{
		{"alice-g", []string{"user:alice"}, true},
		{"alice-g", []string{"team:sre"}, true},
		{"carol", []string{"team:sre"}, false},
		{"carol", []string{"team:acme/sre"}, true},
		{"carol", []string{"team:acme/sre@apps"}, false},
		{"carol", []string{"team:acme/sre@infra"}, true},
		// On another server carol is somebody else; alice's login there is known.
		{"carol", []string{"team:acme/ops@other"}, false},
		{"alice-g", []string{"team:acme/ops@other"}, true},
		{"carol", []string{"user:carol"}, false},
		{"carol", []string{"login:CAROL"}, true},
		{"carol", []string{"permission:write"}, true},
		{"carol", []string{"permission:maintain"}, false},
		{"dave", []string{"permission:write"}, false},
		{"carol", []string{"auto", "codeowners", "nonsense", ""}, false},
	} {
		if ok, err := w.who(t, "infra", c.login).Is(t.Context(), c.list); ok != c.ok || err != nil {
			t.Errorf("%s in %v: %v %v", c.login, c.list, ok, err)
		}
	}
}

func TestWhatCannotBeAskedIsNo(t *testing.T) {
	w := newWorld(t)
	f := w.forges["infra"]
	f.members["acme/sre"] = []string{"carol"}
	f.err = forge.ErrUnreachable
	carol := w.who(t, "infra", "carol")
	if ok, err := carol.Is(t.Context(), []string{"team:acme/sre", "permission:write"}); ok || !errors.Is(err, forge.ErrUnreachable) {
		t.Errorf("in a team that can't be read: %v %v", ok, err)
	}
	// Another entry that fits needs no answer.
	if ok, err := carol.Is(t.Context(), []string{"team:acme/sre", "login:carol"}); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	f.err = nil
	if ok, err := carol.Is(t.Context(), []string{"team:acme/sre"}); !ok || err != nil {
		t.Errorf("a failure was remembered: %v %v", ok, err)
	}
}

func TestAnswersAreKeptBriefly(t *testing.T) {
	w := newWorld(t)
	f := w.forges["infra"]
	f.members["acme/sre"] = []string{"carol"}
	in := func() bool {
		ok, err := w.who(t, "infra", "carol").InTeam(t.Context(), "acme/sre", "")
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if first, again := in(), in(); !first || !again || f.asked != 1 {
		t.Errorf("%v, %v, asked %d times", first, again, f.asked)
	}
	f.members["acme/sre"] = nil
	w.now = w.now.Add(keepFor)
	if in() {
		t.Error("who has left the team is still in it")
	}
}

func TestUserOfTheAPIHasALogin(t *testing.T) {
	w := newWorld(t)
	w.forges["infra"].members["acme/sre"] = []string{"alice-g"}
	id := auth.UserIdentity("alice", w.config().Users["alice"])
	if ok, err := w.User("infra", id).Is(t.Context(), []string{"team:acme/sre"}); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	if ok, _ := w.User("plain", id).Is(t.Context(), []string{"team:acme/sre"}); ok {
		t.Error("a team of no forge")
	}
}
