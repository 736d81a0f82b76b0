package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// app has the credentials of a GitHub App: a JWT signed with its key stands
// for the App itself, and buys tokens of an hour for its installation.
type app struct {
	id          int64
	owner, name string
	jwt         *ghinstallation.AppsTransport
	gh          *gh.Client // as the App itself
	secrets     []secret.Value

	mu           sync.Mutex
	installation int64
	fixed        bool // the operator named the installation
	tokens       *ghinstallation.Transport
}

func newApp(o forge.Options, ro rest.Options, owner, name string) (*app, error) {
	if o.App.ID <= 0 {
		return nil, errors.New("GitHub App: the App's id is missing")
	}
	plain, err := rest.Transport(ro)
	if err != nil {
		return nil, err
	}
	jwt, err := ghinstallation.NewAppsTransport(plain, o.App.ID, []byte(o.App.Key.Reveal()))
	if err != nil {
		// The library's error may repeat a part of the key.
		return nil, errors.New("GitHub App: the private key can't be read; it is the .pem file that GitHub gave when the key was made")
	}
	jwt.BaseURL = strings.TrimRight(ro.Base.String(), "/")
	a := &app{id: o.App.ID, owner: owner, name: name, jwt: jwt, secrets: ro.Secrets, installation: o.App.InstallationID, fixed: o.App.InstallationID != 0}
	// The repository's transport repeats calls; the App's own stands below
	// the JWT, so that every attempt is signed anew.
	base := jwt.BaseURL + "/"
	a.gh, err = gh.NewClient(gh.WithHTTPClient(&http.Client{Transport: jwt, CheckRedirect: stay}), gh.WithURLs(&base, &base),
		gh.WithUserAgent(rest.UserAgent), gh.WithDisableRateLimitCheck())
	return a, err
}

// stay follows no redirect: the JWT is for one address.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// authorize puts the installation's token into a request.
func (a *app) authorize(r *http.Request) error {
	token, err := a.token(r.Context())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// GitToken gives the token of the App's installation, which opens the
// repository for git over https.
func (f *Forge) GitToken(ctx context.Context) (secret.Value, error) {
	if f.app == nil {
		return secret.Value{}, fmt.Errorf("the token for the API is not handed to git: %w", forge.ErrUnsupported)
	}
	token, err := f.app.token(ctx)
	return secret.New(token), err
}

func (a *app) token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		if a.installation == 0 {
			id, err := a.find(ctx)
			if err != nil {
				return "", err
			}
			a.installation = id
		}
		a.tokens = ghinstallation.NewFromAppsTransport(a.jwt, a.installation)
	}
	token, err := a.tokens.Token(rest.Repeatable(ctx))
	if err == nil {
		return token, nil
	}
	err = fail(err, a.secrets)
	if errors.Is(err, forge.ErrNotFound) && !a.fixed {
		// It was installed anew under another id: the next call looks it up.
		a.tokens, a.installation = nil, 0
	}
	return "", err
}

// renew forgets a token that GitHub took no longer.
func (a *app) renew() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	had := a.tokens != nil
	a.tokens = nil
	return had
}

// find looks up the App's installation for the repository.
func (a *app) find(ctx context.Context) (int64, error) {
	in, err := a.install(ctx)
	if err != nil {
		return 0, err
	}
	return in.GetID(), nil
}

func (a *app) install(ctx context.Context) (*gh.Installation, error) {
	in, _, err := a.gh.Apps.GetRepositoryInstallation(ctx, a.owner, a.name)
	if err = fail(err, a.secrets); err != nil {
		if errors.Is(err, forge.ErrNotFound) {
			return nil, fmt.Errorf("the App %d is not installed for %s/%s: install it there on the App's page: %w", a.id, a.owner, a.name, err)
		}
		return nil, fmt.Errorf("the App's installation: %w", err)
	}
	if in.GetID() == 0 {
		return nil, errors.New("the App's installation: GitHub gives no id")
	}
	return in, nil
}

// slug gives the App's name in logins.
func (a *app) slug(ctx context.Context) (string, error) {
	self, _, err := a.gh.Apps.Get(ctx, "")
	if err != nil {
		return "", fmt.Errorf("the App's own name: %w", fail(err, a.secrets))
	}
	if self.GetSlug() == "" {
		return "", errors.New("GitHub does not say what the App is called")
	}
	return self.GetSlug(), nil
}
