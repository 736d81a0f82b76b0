// Package bitbucket is trueup's side of Bitbucket Cloud, by version 2.0 of its
// REST API. People are known by their account id there: display names and
// nicknames can be changed to anybody else's.
package bitbucket

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Kind is the name of this kind of forge in the configuration.
const Kind = "bitbucket"

// Forge is one repository on Bitbucket Cloud.
type Forge struct {
	c         *rest.Client
	groups    *rest.Client // the API of groups is still version 1.0
	info      forge.Info
	workspace string
	slug      string

	mu   sync.Mutex
	me   string
	full map[string]string // commit ids by their abbreviation
}

var (
	_ forge.Forge     = (*Forge)(nil)
	_ forge.Annotator = (*Forge)(nil)
	_ forge.HookAdmin = (*Forge)(nil)
	_ forge.Protector = (*Forge)(nil)
	_ forge.Examiner  = (*Forge)(nil)
)

var projectName = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// Open makes the forge of a repository. It does not connect.
func Open(_ context.Context, o forge.Options) (forge.Forge, error) {
	if o.BaseURL == "" {
		o.BaseURL = "https://api.bitbucket.org"
	}
	base, err := rest.Base(o.BaseURL, "/2.0")
	if err != nil {
		return nil, err
	}
	workspace, slug, _ := strings.Cut(o.Project, "/")
	if !projectName.MatchString(o.Project) || strings.Trim(workspace, ".") == "" || strings.Trim(slug, ".") == "" {
		return nil, fmt.Errorf("%q is no repository of Bitbucket: write workspace/repository", o.Project)
	}
	if o.Token.Empty() {
		return nil, errors.New("a token is missing: Bitbucket needs an access token of the repository or workspace, or an API token with the e-mail address of its account as username")
	}
	authorize := func(r *http.Request) error {
		h := "Bearer " + o.Token.Reveal()
		if o.Username != "" {
			h = "Basic " + base64.StdEncoding.EncodeToString([]byte(o.Username+":"+o.Token.Reveal()))
		}
		r.Header.Set("Authorization", h)
		return nil
	}
	opts := rest.Options{Base: base, CA: o.CA, Transport: o.Transport, Log: o.Log, Secrets: []secret.Value{o.Token}, Authorize: authorize}
	c, err := rest.New(opts)
	if err != nil {
		return nil, err
	}
	old := *base
	old.Path = strings.TrimSuffix(old.Path, "/2.0") + "/1.0"
	opts.Base = &old
	groups, err := rest.New(opts)
	if err != nil {
		return nil, err
	}
	return &Forge{c: c, groups: groups, workspace: workspace, slug: slug, full: map[string]string{},
		info: forge.Info{Kind: Kind, Name: "Bitbucket", Project: o.Project, WebURL: "https://bitbucket.org/" + o.Project,
			Noun: "pull request", CommentLimit: 32_768, HookEvents: wanted}}, nil
}

// Info describes the forge.
func (f *Forge) Info() forge.Info { return f.info }

// path is a path below the repository.
func (f *Forge) path(parts ...string) string {
	return rest.Path(append([]string{"repositories", f.workspace, f.slug}, parts...)...)
}

func (f *Forge) pr(number int, parts ...string) string {
	return f.path(append([]string{"pullrequests", strconv.Itoa(number)}, parts...)...)
}

func (f *Forge) get(ctx context.Context, path string, q url.Values, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Path: path, Query: q, Into: into})
	return err
}

func (f *Forge) send(ctx context.Context, method, path string, body, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Method: method, Path: path, Body: body, Into: into})
	return err
}

// pages reads a list to its end ("Pagination"). Of the link to the next page
// path and query are taken, because the list may be behind a redirect; the
// server stays ours.
func pages[T any](ctx context.Context, c *rest.Client, path string, q url.Values) ([]T, error) {
	var all []T
	for range rest.MaxPages {
		var page struct {
			Values []T    `json:"values"`
			Next   string `json:"next"`
		}
		if _, err := c.Do(ctx, rest.Call{Path: path, Query: q, Into: &page}); err != nil {
			return nil, err
		}
		all = append(all, page.Values...)
		if page.Next == "" {
			return all, nil
		}
		next, err := url.Parse(page.Next)
		if err != nil {
			return nil, fmt.Errorf("GET %s: the link to the next page can't be read", path)
		}
		_, below, ok := strings.Cut(next.EscapedPath(), "/2.0/")
		if !ok || next.RawQuery == "" || "/"+below == path && next.RawQuery == q.Encode() {
			return nil, fmt.Errorf("GET %s: the link to the next page leads nowhere", path)
		}
		path, q = "/"+below, next.Query()
	}
	return nil, rest.TooLong(path)
}

// account is a person, team or app.
type account struct {
	AccountID   string `json:"account_id"`
	UUID        string `json:"uuid"`
	DisplayName string `json:"display_name"`
}

// id is what trueup knows an account by.
func (a account) id() string {
	if a.AccountID != "" {
		return a.AccountID
	}
	return a.UUID
}

// repository is a repository in an answer or a delivery.
type repository struct {
	FullName string `json:"full_name"`
}

// endpoint is one side of a pull request.
type endpoint struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit *struct {
		Hash string `json:"hash"`
	} `json:"commit"`
	Repository *repository `json:"repository"`
}

// own gives the id of the account of the token. An access token of a
// repository may have none that it can read: "" then.
func (f *Forge) own(ctx context.Context) (string, error) {
	f.mu.Lock()
	me := f.me
	f.mu.Unlock()
	if me != "" {
		return me, nil
	}
	var a account
	err := f.get(ctx, "/user", nil, &a)
	if errors.Is(err, forge.ErrDenied) || errors.Is(err, forge.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.me = a.id()
	return f.me, nil
}

// commit gives the full id of a commit: pull requests tell only its first
// twelve digits.
func (f *Forge) commit(ctx context.Context, short string) (string, error) {
	if len(short) >= 40 || short == "" {
		return short, nil
	}
	f.mu.Lock()
	full, ok := f.full[short]
	f.mu.Unlock()
	if ok {
		return full, nil
	}
	var c struct {
		Hash string `json:"hash"`
	}
	if err := f.get(ctx, f.path("commit", short), nil, &c); err != nil {
		return "", fmt.Errorf("commit %s: %w", short, err)
	}
	if !strings.HasPrefix(c.Hash, short) {
		return "", fmt.Errorf("commit %[2]s: Bitbucket gives %[1]q", c.Hash, short)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.full) > 10_000 {
		clear(f.full)
	}
	f.full[short] = c.Hash
	return c.Hash, nil
}
