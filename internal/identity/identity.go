// Package identity says who somebody on a forge is to trueup: which user of
// the operator's configuration has that login, in which teams they are, and
// what they may do with the repository there. What can't be asked counts as
// no.
package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// Forges gives the forge of a repository. The engine is one.
type Forges interface {
	Forge(ctx context.Context, repository string) (forge.Forge, error)
}

// Directory answers questions about people. It is safe for concurrent use.
type Directory struct {
	config func() *config.Server
	forges Forges
	now    func() time.Time

	mu    sync.Mutex
	known map[question]answer
}

// keepFor is how long an answer of a forge counts; failures are asked again.
const keepFor = time.Minute

// New makes a directory over the configuration that is in force.
func New(cfg func() *config.Server, f Forges, now func() time.Time) *Directory {
	return &Directory{config: cfg, forges: f, now: now, known: map[question]answer{}}
}

// Person is somebody with a login on a repository's forge, or a user of the
// configuration, or both.
type Person struct {
	// Login on the forge of Repository, "" where the user has none there.
	Login      string
	Repository string
	// Actor is user:NAME for a user of the configuration, else KIND:LOGIN.
	Actor store.Actor
	// Identity has role, teams and environments of a user; it is zero for
	// others.
	Identity auth.Identity

	d   *Directory
	cfg *config.Server
}

// OnForge gives who has a login on the forge that hosts a repository.
func (d *Directory) OnForge(repository, login string) (Person, error) {
	cfg := d.config()
	at, ok := cfg.ForgeServer(repository)
	if !ok {
		return Person{}, fmt.Errorf("repository %s has no forge: %w", repository, store.ErrNotFound)
	}
	if login == "" {
		return Person{}, errors.New("nobody has an empty login")
	}
	p := Person{Login: login, Repository: repository, Actor: store.Actor(at.Kind + ":" + login), d: d, cfg: cfg}
	if name, u := cfg.UserOf(at, login); u != nil {
		p.Identity = auth.UserIdentity(name, u)
		p.Actor = p.Identity.Actor
	}
	return p, nil
}

// User gives a user of the configuration, with the login that they have on the
// forge of a repository, for approvals that come through the API.
func (d *Directory) User(repository string, id auth.Identity) Person {
	cfg := d.config()
	p := Person{Repository: repository, Actor: id.Actor, Identity: id, d: d, cfg: cfg}
	if at, ok := cfg.ForgeServer(repository); ok {
		if logins := cfg.LoginsAt(userName(id.Actor), at); len(logins) > 0 {
			p.Login = logins[0]
		}
	}
	return p
}

// Known tells whether the person is a user of the configuration.
func (p Person) Known() bool { return p.Identity.Role.Valid() }

// Teams are the user's teams by the configuration.
func (p Person) Teams() []string { return p.Identity.Teams }

// May tells whether a user of the configuration may do something. That
// somebody has a login on a forge gives no right here.
func (p Person) May(verb auth.Verb, o auth.Object) error {
	if !p.Known() {
		return fmt.Errorf("%w: %s is no user of trueup (users: in the operator's configuration)", auth.ErrDenied, p.Actor)
	}
	return auth.Allow(p.Identity, verb, o)
}

// Is tells whether the person is in a list as the configuration writes it:
// user:NAME, team:NAME, team:ORG/TEAM, login:NAME, permission:LEVEL. When no
// entry fits and one could not be asked, the error says so and the answer is
// no.
func (p Person) Is(ctx context.Context, list []string) (bool, error) {
	var failed error
	for _, text := range list {
		ok, err := p.is(ctx, text)
		if ok && err == nil {
			return true, nil
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", text, err))
		}
	}
	return false, failed
}

func (p Person) is(ctx context.Context, text string) (bool, error) {
	w, ok := config.ParseWho(text)
	switch {
	case !ok:
		return false, nil
	case w.Kind == "user":
		return p.Known() && p.Actor == store.Actor("user:"+w.Name), nil
	case w.Kind == "team" && w.Forge:
		return p.InTeam(ctx, w.Name, w.Repository)
	case w.Kind == "team":
		return slices.Contains(p.Identity.Teams, w.Name), nil
	case w.Kind == "login":
		at, _ := p.cfg.ForgeServer(p.Repository)
		return p.Login != "" && config.SameLogin(at.Kind, w.Name, p.Login), nil
	case w.Kind == "permission":
		have, err := p.Permission(ctx)
		return err == nil && have >= levels[w.Name], err
	}
	return false, nil
}

var levels = map[string]forge.Permission{"write": forge.CanWrite, "maintain": forge.CanMaintain, "admin": forge.CanAdmin}

// InTeam asks the forge of a repository ("" for the person's own) whether the
// person is in a team there. On another server than the one the login belongs
// to, only a user with a login there can be.
func (p Person) InTeam(ctx context.Context, team, repository string) (bool, error) {
	login := p.Login
	if repository != "" && repository != p.Repository {
		there, ok := p.cfg.ForgeServer(repository)
		here, _ := p.cfg.ForgeServer(p.Repository)
		if !ok {
			return false, fmt.Errorf("repository %s has no forge", repository)
		}
		if there != here {
			login = ""
			if own := p.cfg.LoginsAt(userName(p.Actor), there); p.Known() && len(own) > 0 {
				login = own[0]
			}
		}
	} else {
		repository = p.Repository
	}
	if login == "" {
		return false, nil
	}
	return ask(ctx, p.d, question{"team", repository, team, login}, func(f forge.Forge) (bool, error) {
		return f.InTeam(ctx, team, login)
	})
}

// Permission asks the forge what the person may do with the repository.
func (p Person) Permission(ctx context.Context) (forge.Permission, error) {
	if p.Login == "" {
		return forge.NoAccess, nil
	}
	return ask(ctx, p.d, question{"permission", p.Repository, "", p.Login}, func(f forge.Forge) (forge.Permission, error) {
		have, err := f.Permission(ctx, p.Login)
		if errors.Is(err, forge.ErrNotFound) {
			return forge.NoAccess, nil
		}
		return have, err
	})
}

// userName gives NAME of user:NAME, "" for other actors.
func userName(a store.Actor) string {
	const prefix = "user:"
	if len(a) > len(prefix) && a[:len(prefix)] == prefix {
		return string(a[len(prefix):])
	}
	return ""
}
