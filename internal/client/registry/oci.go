package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// login gives the operator's credentials, read anew each time they are needed:
// they may change while the server runs.
type login struct {
	user   string
	ref    secret.Ref
	secret func(context.Context, secret.Ref) (secret.Value, error)
}

// Authorization is what the library asks without a context.
func (l *login) Authorization() (*authn.AuthConfig, error) {
	return l.AuthorizationContext(context.Background())
}

// AuthorizationContext gives the credentials.
func (l *login) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	user, password, err := l.get(ctx)
	return &authn.AuthConfig{Username: user, Password: password}, err
}

func (l *login) get(ctx context.Context) (user, password string, err error) {
	v, err := l.secret(ctx, l.ref)
	if err != nil {
		return "", "", err
	}
	if v.Empty() {
		return "", "", fmt.Errorf("secret %s is empty", l.ref)
	}
	return l.user, v.Reveal(), nil
}

func newPuller(g *guard, l *login) (*remote.Puller, error) {
	var auth authn.Authenticator = authn.Anonymous
	if l.user != "" {
		auth = l
	}
	// Trying again is for whoever calls: it knows how long there is time.
	return remote.NewPuller(remote.WithTransport(g), remote.WithAuth(auth), remote.WithJobs(8), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
}

func (d *door) repository(p place) (name.Repository, error) {
	if p.path == "" {
		return name.Repository{}, driver.Permanent(errors.New("the URL names a registry, and no repository in it"))
	}
	var opts []name.Option
	if d.Insecure {
		opts = append(opts, name.Insecure)
	}
	reg, err := name.NewRegistry(p.host, opts...)
	if err != nil {
		return name.Repository{}, driver.Permanent(err)
	}
	return reg.Repo(p.path), nil
}

var tagForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// Tags lists all tags of a repository (oci://host/repository), in the
// registry's order. A list that can't be had whole is an error.
func (c *Client) Tags(ctx context.Context, rawURL string) ([]string, error) {
	d, p, err := c.find(rawURL, "")
	if err != nil {
		return nil, err
	}
	if !p.oci {
		return nil, driver.Permanent(fmt.Errorf("%s is no OCI registry", shown(rawURL)))
	}
	repo, err := d.repository(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(rawURL), err)
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	ctx, call := withCall(ctx, maxPage)
	tags, err := d.tags(ctx, repo)
	if err != nil {
		return nil, fmt.Errorf("tags of %s: %w", shown(rawURL), call.explain(ctx, err))
	}
	return tags, nil
}

func (d *door) tags(ctx context.Context, repo name.Repository) ([]string, error) {
	lister, err := d.puller.Lister(ctx, repo)
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{}
	for pages := 0; lister.HasNext(); pages++ {
		page, err := lister.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tags {
			if tagForm.MatchString(t) && !seen[t] {
				seen[t] = true
				out = append(out, t)
			}
		}
		if page.Next != "" && (pages >= maxPages || len(out) > maxTags) {
			return nil, fmt.Errorf("%w: there are more than %d tags, or %d pages of them", ErrContent, maxTags, maxPages)
		}
	}
	return out, nil
}

// Digest resolves a tag to the digest of what it stands for now.
func (c *Client) Digest(ctx context.Context, rawURL, tag string) (string, error) {
	d, p, err := c.find(rawURL, "")
	if err != nil {
		return "", err
	}
	if !p.oci || !tagForm.MatchString(tag) {
		return "", driver.Permanent(fmt.Errorf("%s:%.128s is no tag in an OCI registry", shown(rawURL), tag))
	}
	repo, err := d.repository(p)
	if err != nil {
		return "", fmt.Errorf("%s: %w", shown(rawURL), err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ctx, call := withCall(ctx, maxPage)
	digest, err := d.digest(ctx, repo.Tag(tag))
	if err == nil {
		err = CheckDigest(digest)
	}
	if err != nil {
		return "", fmt.Errorf("%s:%s: %w", shown(rawURL), tag, call.explain(ctx, err))
	}
	return digest, nil
}

func (d *door) digest(ctx context.Context, tag name.Tag) (string, error) {
	if desc, err := d.puller.Head(ctx, tag); err == nil {
		return desc.Digest.String(), nil
	}
	// Not every registry answers HEAD, and the answer to GET says more about
	// what is wrong.
	desc, err := d.puller.Get(ctx, tag)
	if err != nil {
		return "", err
	}
	return desc.Digest.String(), nil
}
