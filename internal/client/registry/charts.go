package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/driver"
)

// chart is one version of a chart in a chart repository.
type chart struct {
	version string
	digest  string // of the archive, sha256:…; "" where the index has none
	created time.Time
	urls    []string
}

// indexFile is the part of an index.yaml that counts here.
type indexFile struct {
	Entries map[string][]struct {
		Version string   `yaml:"version"`
		Digest  string   `yaml:"digest"`
		Created string   `yaml:"created"`
		URLs    []string `yaml:"urls"`
	} `yaml:"entries"`
}

// indexes keeps indexes for a moment: one burst of work reads each once.
type indexes struct {
	mu sync.Mutex
	m  map[string]keptIndex
}

type keptIndex struct {
	charts map[string][]chart
	until  time.Time
}

const (
	keepIndex  = time.Minute
	maxIndexes = 16
)

func newWeb(g *guard, l *login) *http.Client {
	if l.user != "" {
		g.login = l.get
	}
	return &http.Client{Transport: g, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("more than 5 redirects")
		}
		return nil
	}}
}

// ChartVersions lists the versions of a chart in a chart repository, in the
// order of its index.
func (c *Client) ChartVersions(ctx context.Context, rawURL, name string) ([]string, error) {
	list, err := c.versions(ctx, rawURL, name)
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].version
	}
	return out, err
}

// ChartVersion gives the digest of a chart's archive, "" where the index has
// none, and when it was made.
func (c *Client) ChartVersion(ctx context.Context, rawURL, name, version string) (digest string, created time.Time, err error) {
	list, err := c.versions(ctx, rawURL, name)
	if err != nil {
		return "", time.Time{}, err
	}
	i := slices.IndexFunc(list, func(ch chart) bool { return ch.version == version })
	if i < 0 {
		return "", time.Time{}, fmt.Errorf("%s has no version %.100q of the chart %q: %w", shown(rawURL), version, name, ErrNotFound)
	}
	return list[i].digest, list[i].created, nil
}

func (c *Client) versions(ctx context.Context, rawURL, name string) ([]chart, error) {
	d, p, err := c.find(rawURL, "")
	if err != nil {
		return nil, err
	}
	if p.oci {
		return nil, driver.Permanent(fmt.Errorf("%s is a registry: charts have tags there", shown(rawURL)))
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	all, err := c.charts(ctx, d, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(rawURL), err)
	}
	list, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("%s has no chart %.100q: %w", shown(rawURL), name, ErrNotFound)
	}
	return list, nil
}

// charts reads the index of a repository.
func (c *Client) charts(ctx context.Context, d *door, p place) (map[string][]chart, error) {
	base := repositoryURL(p)
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	if k, ok := d.index.m[base]; ok && c.now().Before(k.until) {
		return k.charts, nil
	}
	body, err := d.read(ctx, base+"/index.yaml", maxIndex, "")
	if err != nil {
		return nil, err
	}
	charts, err := parseIndex(body)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("%w: index.yaml: %w", ErrContent, err))
	}
	if len(d.index.m) >= maxIndexes || d.index.m == nil {
		d.index.m = map[string]keptIndex{}
	}
	d.index.m[base] = keptIndex{charts: charts, until: c.now().Add(keepIndex)}
	return charts, nil
}

func repositoryURL(p place) string {
	return strings.TrimRight(p.scheme+"://"+p.host+"/"+p.path, "/")
}

func parseIndex(body []byte) (map[string][]chart, error) {
	var f indexFile
	if err := yaml.Unmarshal(body, &f); err != nil {
		return nil, err
	}
	if f.Entries == nil {
		return nil, errors.New("it has no entries")
	}
	out := make(map[string][]chart, len(f.Entries))
	for name, list := range f.Entries {
		out[name] = []chart{} // a chart without versions is there all the same
		for _, e := range list {
			if e.Version == "" || len(e.Version) > 256 {
				continue
			}
			ch := chart{version: e.Version, urls: e.URLs}
			if digest := "sha256:" + strings.TrimPrefix(e.Digest, "sha256:"); CheckDigest(digest) == nil {
				ch.digest = digest
			}
			if at, err := time.Parse(time.RFC3339, e.Created); err == nil {
				ch.created = at
			}
			out[name] = append(out[name], ch)
		}
	}
	return out, nil
}

// chart fetches the archive of a chart.
func (c *Client) archive(ctx context.Context, d *door, p place, name, version, digest string) ([]byte, error) {
	if name == "" || version == "" {
		return nil, driver.Permanent(errors.New("a chart in a chart repository needs its name and version"))
	}
	return c.content(scope(d, p, name, version), digest, maxArtefact, func() ([]byte, error) {
		all, err := c.charts(ctx, d, p)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all[name], func(ch chart) bool { return ch.version == version })
		if i < 0 {
			return nil, fmt.Errorf("the repository has no version %q of a chart %q: %w", version, name, ErrNotFound)
		}
		ch := all[name][i]
		switch {
		case ch.digest != "" && ch.digest != digest:
			return nil, driver.Permanent(fmt.Errorf("%w: the repository says that version %s has the digest %s", ErrContent, version, ch.digest))
		case len(ch.urls) == 0:
			return nil, driver.Permanent(fmt.Errorf("%w: the index does not say where version %s lies", ErrContent, version))
		}
		at, err := chartURL(repositoryURL(p), ch.urls[0])
		if err != nil {
			return nil, driver.Permanent(fmt.Errorf("%w: the index says %w", ErrContent, err))
		}
		return d.read(ctx, at, maxArtefact, "identity") // some servers call the archive itself an encoding
	})
}

// chartURL makes a URL of the index whole: it may be relative to the repository.
func chartURL(base, ref string) (string, error) {
	b, err := url.Parse(base + "/")
	if err != nil {
		return "", err
	}
	u, err := b.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("%.200q, which is no URL", ref)
	}
	if u.Scheme == "oci" {
		return "", fmt.Errorf("that the chart lies in a registry, %.200s: use that URL", bare(u))
	}
	return u.String(), nil
}

// read gets a file of a chart repository.
func (d *door) read(ctx context.Context, at string, limit int64, encoding string) ([]byte, error) {
	ctx, call := withCall(ctx, limit)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, driver.Permanent(err)
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	resp, err := d.web.Do(req)
	if err != nil {
		return nil, call.explain(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode, fmt.Errorf("%s answers %s", bare(req.URL), resp.Status))
	}
	b, err := io.ReadAll(resp.Body)
	return b, call.explain(ctx, err)
}
