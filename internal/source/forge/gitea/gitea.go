// Package gitea is the forge Gitea, and Forgejo, which speaks the same API.
package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Kind is the name of this kind of forge in the configuration.
const Kind = "gitea"

// Forge is one repository on Gitea or Forgejo.
type Forge struct {
	owner, name string
	web         string // of the repository
	api         *rest.Client

	mu    sync.Mutex
	login string // trueup's own account, once it is known
}

// Check that every face is there that Gitea can have.
var (
	_ forge.Forge     = (*Forge)(nil)
	_ forge.HookAdmin = (*Forge)(nil)
	_ forge.Protector = (*Forge)(nil)
	_ forge.Examiner  = (*Forge)(nil)
)

// Open makes the forge; it does not connect.
func Open(_ context.Context, o forge.Options) (forge.Forge, error) {
	if o.BaseURL == "" {
		return nil, errors.New("the base URL is missing: there is no public Gitea")
	}
	if o.Token.Empty() {
		return nil, errors.New("the token is missing: Gitea asks for one")
	}
	base, err := rest.Base(o.BaseURL, "/api/v1")
	if err != nil {
		return nil, err
	}
	f := &Forge{}
	if f.owner, f.name, err = forge.SplitProject(o.Project); err != nil {
		return nil, err
	}
	f.web = strings.TrimSuffix(base.String(), "/api/v1") + rest.Path(f.owner, f.name)
	ro := rest.For(o, base)
	ro.Authorize = func(r *http.Request) error { r.Header.Set("Authorization", "token "+o.Token.Reveal()); return nil }
	f.api, err = rest.New(ro)
	return f, err
}

// commentLimit is trueup's own: Gitea's depends on its database.
const commentLimit = 65536

// Info describes the repository.
func (f *Forge) Info() forge.Info {
	return forge.Info{Kind: Kind, Name: "Gitea", Project: f.owner + "/" + f.name, WebURL: f.web, Noun: "pull request",
		HeadRef: "refs/pull/%d/head", CommentLimit: commentLimit, Collapse: true, HookEvents: Events}
}

// path is a path below the repository.
func (f *Forge) path(parts ...string) string {
	return rest.Path(append([]string{"repos", f.owner, f.name}, parts...)...)
}

func (f *Forge) get(ctx context.Context, path string, query url.Values, into any) error {
	_, err := f.api.Do(ctx, rest.Call{Path: path, Query: query, Into: into})
	return err
}

// perPage is what Gitea gives at most, unless it was configured otherwise; a
// page may be shorter.
const perPage = 50

// pages reads a list to its end. Not every list of Gitea has a Link header,
// and some have no pages at all: the total count says when all is there.
func pages[T any](ctx context.Context, f *Forge, path string, query url.Values) ([]T, error) {
	var all []T
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Set("limit", strconv.Itoa(perPage))
	for n := 1; n <= rest.MaxPages; n++ {
		q.Set("page", strconv.Itoa(n))
		var page []T
		h, err := f.api.Do(ctx, rest.Call{Path: path, Query: q, Into: &page})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		_, more, err := rest.Next(h)
		if err != nil {
			return nil, fmt.Errorf("GET %s: %w", path, err)
		}
		total, counted := count(h)
		if len(page) == 0 || !more && (!counted || len(all) >= total) {
			return all, nil
		}
	}
	return nil, rest.TooLong(path)
}

func count(h http.Header) (int, bool) {
	n, err := strconv.Atoi(h.Get("X-Total-Count"))
	return n, err == nil
}

// user is an account as the API tells of it.
type user struct {
	Login string `json:"login"`
}

func (u *user) name() string {
	if u == nil {
		return ""
	}
	return u.Login
}

// self gives the login of trueup's own account.
func (f *Forge) self(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.login != "" {
		return f.login, nil
	}
	var u user
	if err := f.get(ctx, "/user", nil, &u); err != nil {
		return "", fmt.Errorf("the account of the token (it needs the scope read:user): %w", err)
	}
	if u.Login == "" {
		return "", errors.New("the token works, but Gitea does not say whose it is")
	}
	f.login = u.Login
	return f.login, nil
}
