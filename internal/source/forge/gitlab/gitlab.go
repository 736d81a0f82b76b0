// Package gitlab is trueup's side of GitLab, gitlab.com as well as
// self-managed, by version 4 of its REST API.
package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Kind is the name of this kind of forge in the configuration.
const Kind = "gitlab"

// Forge is one project of a GitLab server.
type Forge struct {
	c    *rest.Client
	info forge.Info
	root string // path of the project in the API
	now  func() time.Time

	mu       sync.Mutex
	me       string         // own login, once asked for
	projects map[int]string // full paths by id
}

var (
	_ forge.Forge     = (*Forge)(nil)
	_ forge.Deployer  = (*Forge)(nil)
	_ forge.HookAdmin = (*Forge)(nil)
	_ forge.Protector = (*Forge)(nil)
	_ forge.Examiner  = (*Forge)(nil)
)

// Open makes the forge of a project. It does not connect.
func Open(_ context.Context, o forge.Options) (forge.Forge, error) {
	if o.BaseURL == "" {
		o.BaseURL = "https://gitlab.com"
	}
	base, err := rest.Base(o.BaseURL, "/api/v4")
	if err != nil {
		return nil, err
	}
	if err := checkProject(o.Project); err != nil {
		return nil, err
	}
	if o.Token.Empty() {
		return nil, errors.New("GitLab needs a token: a project, group or personal access token with the scope api")
	}
	c, err := rest.New(rest.Options{Base: base, CA: o.CA, Transport: o.Transport, Log: o.Log, Secrets: []secret.Value{o.Token},
		Authorize: func(r *http.Request) error {
			// "Authentication", OAuth-compliant headers: all kinds of tokens.
			r.Header.Set("Authorization", "Bearer "+o.Token.Reveal())
			return nil
		}})
	if err != nil {
		return nil, err
	}
	web := strings.TrimSuffix(base.String(), "/api/v4") + "/" + o.Project
	return &Forge{c: c, root: "/projects/" + url.PathEscape(o.Project), now: time.Now, projects: map[int]string{},
		info: forge.Info{Kind: Kind, Name: "GitLab", Project: o.Project, WebURL: web, Noun: "merge request",
			HeadRef: "refs/merge-requests/%d/head", MergeRef: "refs/merge-requests/%d/merge", CommentLimit: 1_000_000, Collapse: true, HookEvents: wanted}}, nil
}

func checkProject(p string) error {
	parts := strings.Split(p, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || len(parts) < 2 || strings.ContainsAny(part, "?#%\\") {
			return fmt.Errorf("%q is no project of GitLab: write group/project, or group/subgroup/project", p)
		}
	}
	return nil
}

// Info describes the forge.
func (f *Forge) Info() forge.Info { return f.info }

func (f *Forge) get(ctx context.Context, path string, q url.Values, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Path: path, Query: q, Into: into})
	return err
}

func (f *Forge) send(ctx context.Context, method, path string, body, into any) error {
	_, err := f.c.Do(ctx, rest.Call{Method: method, Path: path, Body: body, Into: into})
	return err
}

func (f *Forge) mr(number int) string {
	return f.root + "/merge_requests/" + strconv.Itoa(number)
}

// query makes a query of pairs.
func query(kv ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	return q
}

// user is a user as GitLab's answers hold it.
type user struct {
	ID       int    `json:"id"`
	Username string `json:"username"`
}

// own gives the login of the account that the token belongs to.
func (f *Forge) own(ctx context.Context) (string, error) {
	f.mu.Lock()
	me := f.me
	f.mu.Unlock()
	if me != "" {
		return me, nil
	}
	var u user
	if err := f.get(ctx, "/user", nil, &u); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.me = u.Username
	return f.me, nil
}

// pathOf gives the full path of a project by its id, "" for one that is gone
// or hidden.
func (f *Forge) pathOf(ctx context.Context, id int) (string, error) {
	f.mu.Lock()
	p, ok := f.projects[id]
	f.mu.Unlock()
	if ok || id == 0 {
		return p, nil
	}
	var project struct {
		Path string `json:"path_with_namespace"`
	}
	err := f.get(ctx, "/projects/"+strconv.Itoa(id), nil, &project)
	if err != nil && !errors.Is(err, forge.ErrNotFound) {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.projects[id] = project.Path
	return project.Path, nil
}
