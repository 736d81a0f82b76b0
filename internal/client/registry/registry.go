// Package registry reads OCI registries and Helm chart repositories: tags,
// digests, and artefacts that are pinned by their digest. It contacts nothing
// but what the operator allows as a source.
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/singleflight"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// Limits of what is fetched.
const (
	maxPage     = 4 << 20  // a page of tags, a manifest, a token
	maxIndex    = 32 << 20 // of a chart repository
	maxArtefact = 64 << 20
	maxTags     = 200_000
	maxPages    = 2_000
	maxTime     = 5 * time.Minute // of one operation
)

// Options say what a Client may reach, and how.
type Options struct {
	Sources []Source
	// Secret resolves the references in Sources.
	Secret func(ctx context.Context, ref secret.Ref) (secret.Value, error)
	// Dir is where relative files in Sources start.
	Dir string
	// Cache is a directory for fetched content; "" keeps it in memory.
	Cache     string
	UserAgent string
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// Client reads from the operator's sources. It is safe for concurrent use.
type Client struct {
	doors []*door
	cache *cache
	fly   singleflight.Group
	now   func() time.Time
}

// door is a source with the way to it.
type door struct {
	*source
	guard  *guard
	puller *remote.Puller // of an OCI registry
	web    *http.Client   // of a chart repository
	index  indexes
}

// New makes a client; it does not connect.
func New(o Options) (*Client, error) {
	if err := Check("sources", o.Sources).Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Secret == nil {
		o.Secret = func(context.Context, secret.Ref) (secret.Value, error) {
			return secret.Value{}, errors.New("there is nothing that resolves secrets")
		}
	}
	c := &Client{cache: &cache{dir: o.Cache}, now: o.Now}
	for _, s := range o.Sources {
		src, err := s.parse()
		if err != nil {
			return nil, driver.Permanent(err)
		}
		d := &door{source: src}
		if d.guard, err = newGuard(src, &o); err != nil {
			return nil, err
		}
		login := &login{user: s.Username, ref: s.Password, secret: o.Secret}
		if src.oci {
			d.puller, err = newPuller(d.guard, login)
		} else {
			d.web = newWeb(d.guard, login)
		}
		if err != nil {
			return nil, err
		}
		c.doors = append(c.doors, d)
	}
	return c, nil
}

// Close gives idle connections back.
func (c *Client) Close() error {
	for _, d := range c.doors {
		d.guard.inner.CloseIdleConnections()
	}
	return nil
}

// Allows says whether a URL lies below one of the sources; nothing is sent.
func (c *Client) Allows(rawURL string) error {
	_, _, err := c.find(rawURL, "")
	return err
}

// find gives the source for a URL, the one that says most about it, and what
// is asked for. In a registry a name is one more part of the URL.
func (c *Client) find(rawURL, name string) (*door, place, error) {
	p, err := parsePlace(rawURL)
	if err != nil {
		return nil, p, driver.Permanent(fmt.Errorf("%s: %w", shown(rawURL), err))
	}
	if p.oci && name != "" {
		if !ociPath.MatchString(name) {
			return nil, p, driver.Permanent(fmt.Errorf("%.100q is no name of a repository in %s", name, shown(rawURL)))
		}
		if p, err = parsePlace(rawURL + "/" + name); err != nil {
			return nil, p, driver.Permanent(fmt.Errorf("%s with the name %q: %w", shown(rawURL), name, err))
		}
	}
	p = p.asked()
	var found *door
	for _, d := range c.doors {
		if p.below(d.place) && (found == nil || len(d.path) > len(found.path)) {
			found = d
		}
	}
	if found == nil {
		return nil, p, driver.Permanent(fmt.Errorf("%s lies below none of the sources: %w", shown(rawURL), ErrRefused))
	}
	return found, p, nil
}

// shown is a URL that somebody wrote, as it may be repeated: without what
// could be a password.
var userInfo = regexp.MustCompile(`//[^/@]*@`)

func shown(rawURL string) string {
	if len(rawURL) > maxURL {
		rawURL = rawURL[:maxURL] + "…"
	}
	return userInfo.ReplaceAllString(rawURL, "//…@")
}

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// CheckDigest says whether a text is a digest that content can be pinned by.
func CheckDigest(digest string) error {
	if !sha256Digest.MatchString(digest) {
		return fmt.Errorf("%q is no digest: write sha256: and 64 hexadecimal digits", digest)
	}
	return nil
}

// Fetch gives an artefact, which is a tar.gz: the content of an OCI artefact
// (oci://host/repository, the digest is its manifest's), or a chart of a chart
// repository (https://host/path with a name and a version, the digest is the
// archive's). What comes has the digest, or there is an error.
func (c *Client) Fetch(ctx context.Context, rawURL, name, version, digest string) ([]byte, error) {
	if err := CheckDigest(digest); err != nil {
		return nil, driver.Permanent(fmt.Errorf("%s: %w", shown(rawURL), err))
	}
	d, p, err := c.find(rawURL, name)
	if err != nil {
		return nil, err
	}
	// Who waits for a fetch must not lose it by the end of the one who began.
	ch := c.fly.DoChan(strings.Join([]string{rawURL, name, version, digest}, "\n"), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxTime)
		defer cancel()
		if p.oci {
			s, err := c.shelf(d, p)
			if err != nil {
				return nil, err
			}
			return s.artefact(ctx, digest)
		}
		return c.archive(ctx, d, p, name, version, digest)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-ch:
		if r.Err != nil {
			return nil, fmt.Errorf("%s: %w", label(rawURL, name, version, digest), r.Err)
		}
		return slices.Clone(r.Val.([]byte)), nil
	}
}

func label(rawURL, name, version, digest string) string {
	s := shown(rawURL)
	if name != "" {
		s += " " + name
	}
	if version != "" {
		s += " " + version
	}
	return s + "@" + digest[:19]
}

// scope is what content in the cache is for: only who may ask for it there, by
// these very credentials, gets it from the cache.
func scope(d *door, p place, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{d.id, p.scheme, p.host, p.path}, parts...), "\n")))
	return hex.EncodeToString(sum[:8])
}

// content gives what has a digest, from the cache or by get. It is checked
// either way.
func (c *Client) content(scope, digest string, limit int64, get func() ([]byte, error)) ([]byte, error) {
	if b, ok := c.cache.get(scope, digest, limit); ok {
		return b, nil
	}
	b, err := get()
	if err != nil {
		return nil, err
	}
	if !fits(digest, b) {
		return nil, driver.Permanent(fmt.Errorf("%w: it does not have the digest %s", ErrContent, digest))
	}
	c.cache.put(scope, digest, b)
	return b, nil
}
