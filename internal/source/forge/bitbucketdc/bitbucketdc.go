// Package bitbucketdc is trueup's side of Bitbucket Data Center, by its REST
// API.
package bitbucketdc

import (
	"context"
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
const Kind = "bitbucketdc"

// Forge is one repository of a Bitbucket Data Center.
type Forge struct {
	c    *rest.Client
	info forge.Info
	key  string // of the project, ~name for a person's own
	slug string

	mu sync.Mutex
	me string
}

var (
	_ forge.Forge     = (*Forge)(nil)
	_ forge.Annotator = (*Forge)(nil)
	_ forge.Deployer  = (*Forge)(nil)
	_ forge.HookAdmin = (*Forge)(nil)
	_ forge.Protector = (*Forge)(nil)
	_ forge.Examiner  = (*Forge)(nil)
)

var projectName = regexp.MustCompile(`^~?[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// Open makes the forge of a repository. It does not connect.
func Open(_ context.Context, o forge.Options) (forge.Forge, error) {
	if o.BaseURL == "" {
		return nil, errors.New("a base URL is missing: Bitbucket Data Center needs the address that people open in their browser")
	}
	base, err := rest.Base(o.BaseURL, "/rest")
	if err != nil {
		return nil, err
	}
	key, slug, _ := strings.Cut(o.Project, "/")
	if !projectName.MatchString(o.Project) || strings.Trim(key, ".~") == "" || strings.Trim(slug, ".") == "" {
		return nil, fmt.Errorf("%q is no repository of Bitbucket Data Center: write PROJECT/repository", o.Project)
	}
	if o.Token.Empty() {
		return nil, errors.New("a token is missing: Bitbucket Data Center needs an HTTP access token of the repository, the project or a person")
	}
	c, err := rest.New(rest.Options{Base: base, CA: o.CA, Transport: o.Transport, Log: o.Log, Secrets: []secret.Value{o.Token},
		Authorize: func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+o.Token.Reveal())
			r.Header.Set("X-Atlassian-Token", "no-check")
			return nil
		}})
	if err != nil {
		return nil, err
	}
	web := strings.TrimSuffix(base.String(), "/rest")
	if person, ok := strings.CutPrefix(key, "~"); ok {
		web += rest.Path("users", person, "repos", slug)
	} else {
		web += rest.Path("projects", key, "repos", slug)
	}
	return &Forge{c: c, key: key, slug: slug, info: forge.Info{Kind: Kind, Name: "Bitbucket Data Center", Project: o.Project, WebURL: web,
		Noun: "pull request", HeadRef: "refs/pull-requests/%d/from", CommentLimit: 32_768, HookEvents: wanted}}, nil
}

// Info describes the forge.
func (f *Forge) Info() forge.Info { return f.info }

// repo is a path below the repository, of an API by its name.
func (f *Forge) repo(api string, parts ...string) string {
	return "/" + api + rest.Path(append([]string{"projects", f.key, "repos", f.slug}, parts...)...)
}

const core = "api/1.0"

func (f *Forge) pr(number int, parts ...string) string {
	return f.repo(core, append([]string{"pull-requests", strconv.Itoa(number)}, parts...)...)
}

func (f *Forge) get(ctx context.Context, path string, q url.Values, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Path: path, Query: q, Into: into})
	return err
}

func (f *Forge) send(ctx context.Context, method, path string, body, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Method: method, Path: path, Body: body, Into: into})
	return err
}

// pages reads a list to its end ("REST resources", paged APIs). The server may
// give fewer than it was asked for: only isLastPage ends the list.
func pages[T any](ctx context.Context, c *rest.Client, path string, q url.Values) ([]T, error) {
	var all []T
	query := url.Values{"limit": {"100"}}
	for k, v := range q {
		query[k] = v
	}
	for range rest.MaxPages {
		var page struct {
			Values []T   `json:"values"`
			Last   *bool `json:"isLastPage"`
			Next   *int  `json:"nextPageStart"`
		}
		if _, err := c.Do(ctx, rest.Call{Path: path, Query: query, Into: &page}); err != nil {
			return nil, err
		}
		all = append(all, page.Values...)
		switch {
		case page.Last == nil:
			return nil, fmt.Errorf("GET %s: the answer is no page of a list", path)
		case *page.Last:
			return all, nil
		case page.Next == nil:
			return nil, fmt.Errorf("GET %s: there are more pages, but not where", path)
		}
		query.Set("start", strconv.Itoa(*page.Next))
	}
	return nil, rest.TooLong(path)
}

// user is a person or a bot. Name is what they log in with.
type user struct {
	Name string `json:"name"`
}

// repository is a repository in an answer or a delivery.
type repository struct {
	Slug    string `json:"slug"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
}

func (r repository) path() string {
	if r.Project.Key == "" {
		return ""
	}
	return r.Project.Key + "/" + r.Slug
}

// ref is one side of a pull request.
type ref struct {
	ID           string     `json:"id"`
	DisplayID    string     `json:"displayId"`
	LatestCommit string     `json:"latestCommit"`
	Repository   repository `json:"repository"`
}

func (r ref) branch() string { return strings.TrimPrefix(r.ID, "refs/heads/") }

// whoHeader is where the server says on whose behalf it answered.
const whoHeader = "X-Ausername"

// own gives the name of the token's account.
func (f *Forge) own(ctx context.Context) (string, error) {
	f.mu.Lock()
	me := f.me
	f.mu.Unlock()
	if me != "" {
		return me, nil
	}
	h, err := f.c.Do(ctx, rest.Call{Path: f.repo(core)})
	if err != nil {
		return "", err
	}
	name, err := url.PathUnescape(h.Get(whoHeader))
	if err != nil {
		return "", nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.me = name
	return name, nil
}

// Examine asks who the token is and what it may do with the repository.
func (f *Forge) Examine(ctx context.Context) (forge.Standing, error) {
	f.mu.Lock()
	f.me = ""
	f.mu.Unlock()
	me, err := f.own(ctx)
	if err != nil {
		return forge.Standing{}, fmt.Errorf("repository %s: %w", f.info.Project, err)
	}
	return f.standing(ctx, me)
}
