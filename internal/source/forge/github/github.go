// Package github is the forge GitHub: github.com, GitHub Enterprise Cloud with
// data residency and GitHub Enterprise Server, with a personal access token or
// as a GitHub App.
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Kind is the name of this kind of forge in the configuration.
const Kind = "github"

// Forge is one repository on GitHub.
type Forge struct {
	owner, name string
	web         string // of the repository
	gh          *gh.Client
	app         *app // nil with a token
	secrets     []secret.Value

	mu    sync.Mutex
	login string // trueup's own account, once it is known
}

// Check that every face is there.
var (
	_ forge.Forge     = (*Forge)(nil)
	_ forge.Annotator = (*Forge)(nil)
	_ forge.Deployer  = (*Forge)(nil)
	_ forge.HookAdmin = (*Forge)(nil)
	_ forge.Protector = (*Forge)(nil)
	_ forge.Examiner  = (*Forge)(nil)
	_ forge.Gitter    = (*Forge)(nil)
)

// Open makes the forge; it does not connect.
func Open(_ context.Context, o forge.Options) (forge.Forge, error) {
	api, web, err := addresses(o.BaseURL)
	if err != nil {
		return nil, err
	}
	f := &Forge{secrets: rest.For(o, api).Secrets}
	if f.owner, f.name, err = forge.SplitProject(o.Project); err != nil {
		return nil, err
	}
	f.web = web + rest.Path(f.owner, f.name)
	ro := rest.For(o, api)
	ro.Accept = "application/json" // the SDKs ask for previews of GitHub's past
	switch {
	case o.App != nil && !o.Token.Empty():
		return nil, errors.New("GitHub: give either a token or an App, not both")
	case o.App != nil:
		if f.app, err = newApp(o, ro, f.owner, f.name); err != nil {
			return nil, err
		}
		ro.Authorize, ro.Renew = f.app.authorize, f.app.renew
	case !o.Token.Empty():
		ro.Authorize = func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+o.Token.Reveal()); return nil }
	default:
		return nil, errors.New("GitHub: there is neither a token nor an App")
	}
	if f.gh, err = client(ro); err != nil {
		return nil, err
	}
	return f, nil
}

// client makes an SDK client that leaves waiting and repeating to rest.
func client(o rest.Options) (*gh.Client, error) {
	h, err := rest.HTTP(o)
	if err != nil {
		return nil, err
	}
	base := strings.TrimRight(o.Base.String(), "/") + "/"
	return gh.NewClient(gh.WithHTTPClient(h), gh.WithURLs(&base, &base), gh.WithUserAgent(rest.UserAgent), gh.WithDisableRateLimitCheck())
}

// addresses gives the address of the API and of the web pages for what people
// may write as base URL.
func addresses(base string) (api *url.URL, web string, err error) {
	if base == "" {
		base = "https://github.com"
	}
	u, err := rest.Base(base, "")
	if err != nil {
		return nil, "", err
	}
	host, found := strings.CutPrefix(u.Host, "api.")
	switch {
	case host == "github.com" || strings.HasSuffix(host, ".ghe.com"):
		return &url.URL{Scheme: u.Scheme, Host: "api." + host}, u.Scheme + "://" + host, nil
	case found && u.Path == "":
		return u, u.Scheme + "://" + host, nil
	}
	u, err = rest.Base(base, "/api/v3")
	return u, strings.TrimSuffix(u.String(), "/api/v3"), err
}

// Info describes the repository.
func (f *Forge) Info() forge.Info {
	return forge.Info{Kind: Kind, Name: "GitHub", Project: f.owner + "/" + f.name, WebURL: f.web, Noun: "pull request",
		HeadRef: "refs/pull/%d/head", MergeRef: "refs/pull/%d/merge", CommentLimit: 65536, Collapse: true, HookEvents: Events}
}

// fail brings the SDK's errors into the words of package forge.
func (f *Forge) fail(err error) error { return fail(err, f.secrets) }

func fail(err error, secrets []secret.Value) error {
	var answer *gh.ErrorResponse
	var factor *gh.TwoFactorAuthError
	var token *ghinstallation.HTTPError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer) && answer.Response != nil:
		return rest.Failed(answer.Response, secrets)
	case errors.As(err, &factor) && factor.Response != nil:
		return rest.Failed(factor.Response, secrets)
	case errors.As(err, &token) && token.RootCause == nil && token.Response != nil:
		return fmt.Errorf("the App's token for its installation: %w", rest.Failed(token.Response, secrets))
	}
	return rest.Tidy(err)
}

// call makes a call below the repository that the SDK has no good one for.
func (f *Forge) call(ctx context.Context, method, path string, body, into any) error {
	req, err := f.gh.NewRequest(ctx, method, fmt.Sprintf("repos/%s/%s/%s", f.owner, f.name, path), body)
	if err != nil {
		return err
	}
	_, err = f.gh.Do(req, into)
	return f.fail(err)
}

// pages reads a list to its end.
func pages[T any](f *Forge, what string, list func(gh.ListOptions) ([]T, *gh.Response, error)) ([]T, error) {
	var all []T
	o := gh.ListOptions{PerPage: 100}
	for range rest.MaxPages {
		page, resp, err := list(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, f.fail(err))
		}
		all = append(all, page...)
		if resp.NextPage == 0 {
			return all, nil
		}
		o.Page = resp.NextPage
	}
	return nil, rest.TooLong(what)
}

// self gives the login of trueup's own account.
func (f *Forge) self(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.login != "" {
		return f.login, nil
	}
	if f.app != nil {
		slug, err := f.app.slug(ctx)
		if err != nil {
			return "", err
		}
		f.login = slug + "[bot]"
		return f.login, nil
	}
	u, _, err := f.gh.Users.Get(ctx, "")
	if err != nil {
		return "", fmt.Errorf("the account of the token: %w", f.fail(err))
	}
	if u.GetLogin() == "" {
		return "", errors.New("GitHub does not say whose token it is")
	}
	f.login = u.GetLogin()
	return f.login, nil
}
