package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"trueup.dev/trueup/internal/source"
)

const lfsMedia = "application/vnd.git-lfs+json"

// lfsClient is a Git LFS client that downloads: the batch API with the basic
// transfer (git-lfs docs/api/batch.md). What it gives has been checked against
// the sha256 and size in the repository.
type lfsClient struct {
	m    *Mirror
	http *http.Client
}

func newLFS(m *Mirror) *lfsClient {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	if ca := m.opt.Credentials.CA; ca != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(ca))
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	// A redirect could carry the credentials elsewhere.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &lfsClient{m: m, http: &http.Client{Transport: tr, Timeout: m.opt.Timeout, CheckRedirect: stay}}
}

func (c *lfsClient) endpoint() (string, error) {
	if u := c.m.opt.LFS.URL; u != "" {
		return strings.TrimSuffix(u, "/"), nil
	}
	r := c.m.remote
	if r.kind != overHTTP && r.kind != overHTTPS {
		return "", fmt.Errorf("the LFS server doesn't follow from the repository's URL; set lfs.url: %w", source.ErrLFS)
	}
	return strings.TrimSuffix(strings.TrimSuffix(r.url, "/"), ".git") + ".git/info/lfs", nil
}

// Object gives a large file, from the mirror's own store or from the server.
func (c *lfsClient) Object(ctx context.Context, oid string, size int64) ([]byte, error) {
	name := filepath.Join(c.m.dir, "lfs", oid)
	if b, err := os.ReadFile(name); err == nil && verified(b, oid, size) {
		return b, nil
	}
	b, err := c.download(ctx, oid, size)
	if err != nil {
		return nil, fmt.Errorf("LFS object %.12s: %w", oid, err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return b, writeFile(name, b)
}

func verified(b []byte, oid string, size int64) bool {
	sum := sha256.Sum256(b)
	return int64(len(b)) == size && hex.EncodeToString(sum[:]) == oid
}

type lfsBatch struct {
	Objects []struct {
		OID     string `json:"oid"`
		Actions struct {
			Download struct {
				Href   string            `json:"href"`
				Header map[string]string `json:"header"`
			} `json:"download"`
		} `json:"actions"`
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"objects"`
}

func (c *lfsClient) download(ctx context.Context, oid string, size int64) ([]byte, error) {
	end, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{"operation": "download", "transfers": []string{"basic"}, "hash_algo": "sha256",
		"objects": []map[string]any{{"oid": oid, "size": size}}})
	if err != nil {
		return nil, err
	}
	body, err := c.do(ctx, http.MethodPost, end+"/objects/batch", ask, nil, 1<<20)
	if err != nil {
		return nil, err
	}
	var got lfsBatch
	if err := json.Unmarshal(body, &got); err != nil {
		return nil, fmt.Errorf("%w: the LFS server's answer can't be read: %w", source.ErrLFS, err)
	}
	if len(got.Objects) != 1 || got.Objects[0].OID != oid {
		return nil, fmt.Errorf("%w: the LFS server answered for another object", source.ErrLFS)
	}
	o := got.Objects[0]
	if o.Error != nil {
		return nil, fmt.Errorf("%w: the LFS server says %d %s", source.ErrLFS, o.Error.Code, tidy(o.Error.Message))
	}
	header := o.Actions.Download.Header
	if header == nil {
		header = map[string]string{}
	}
	b, err := c.do(ctx, http.MethodGet, o.Actions.Download.Href, nil, header, size)
	if err == nil && !verified(b, oid, size) {
		err = fmt.Errorf("%w: what the server sent has another checksum or size", source.ErrLFS)
	}
	return b, err
}

// do makes one request. The credentials go to the repository's host alone, and
// only where the server gave no headers of its own.
func (c *lfsClient) do(ctx context.Context, method, to string, body []byte, header map[string]string, limit int64) ([]byte, error) {
	u, err := url.Parse(to)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || (u.Scheme == "http" && c.m.remote.kind != overHTTP && !loopback(u.Hostname())) {
		return nil, fmt.Errorf("%w: the LFS server's address is not https", source.ErrLFS)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", source.ErrLFS, "bad address")
	}
	if method == http.MethodPost {
		req.Header.Set("Accept", lfsMedia)
		req.Header.Set("Content-Type", lfsMedia)
	}
	if c.own(u) {
		cred, err := c.m.credentials(ctx)
		if err != nil {
			return nil, err
		}
		if h := authorization(cred); h != "" {
			req.Header.Set("Authorization", h)
		}
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	return c.send(req, limit)
}

// own tells whether a URL is on the host that the credentials are for: the
// LFS server that the operator set, or the repository's.
func (c *lfsClient) own(u *url.URL) bool {
	if strings.EqualFold(u.Host, c.m.remote.host) && u.Scheme == string(c.m.remote.kind) {
		return true
	}
	set, err := url.Parse(c.m.opt.LFS.URL)
	return err == nil && set.Host != "" && strings.EqualFold(u.Host, set.Host) && u.Scheme == set.Scheme
}

func (c *lfsClient) send(req *http.Request, limit int64) ([]byte, error) {
	res, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // its URL may hold a signature
		}
		return nil, fmt.Errorf("%w: %w", source.ErrUnreachable, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("%w: LFS server: %s", source.ErrAuth, res.Status)
	case res.StatusCode >= 500:
		return nil, fmt.Errorf("%w: LFS server: %s", source.ErrUnreachable, res.Status)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: LFS server: %s", source.ErrLFS, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", source.ErrUnreachable, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the LFS server sent more than %d bytes: %w", limit, source.ErrTooLarge)
	}
	return b, nil
}
