package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	oci "github.com/google/go-containerregistry/pkg/v1/remote"

	"trueup.dev/trueup/internal/driver"
)

// maxArtefact bounds what is fetched.
const maxArtefact = 4 << 30

// shelf keeps fetched artefacts for the hosts of an apply: each is fetched and
// unpacked once.
type shelf struct {
	mu    sync.Mutex
	dir   string
	packs map[string]*pack
}

// pack is an artefact as it travels to hosts.
type pack struct {
	once  sync.Once
	err   error
	file  string // content: one file, or a tar that holds nothing dangerous
	sums  string // what sha256sum -c checks it by
	size  int64
	plain bool // one file
}

// get gives an artefact, and fetches it if nobody did before.
func (s *shelf) get(ctx context.Context, st *artefactState) (*pack, error) {
	s.mu.Lock()
	if s.packs == nil {
		s.packs = map[string]*pack{}
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "trueup-artefacts-")
		if err != nil {
			s.mu.Unlock()
			return nil, err
		}
		s.dir = dir
	}
	p := s.packs[st.Release]
	if p == nil {
		p = &pack{}
		s.packs[st.Release] = p
	}
	s.mu.Unlock()
	p.once.Do(func() { p.err = p.make(ctx, s.dir, st) })
	if p.err != nil {
		s.mu.Lock()
		delete(s.packs, st.Release) // the next run tries again
		s.mu.Unlock()
	}
	return p, p.err
}

// close removes what was fetched.
func (s *shelf) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	err := os.RemoveAll(s.dir)
	s.dir, s.packs = "", nil
	return err
}

func (p *pack) make(ctx context.Context, dir string, st *artefactState) error {
	raw, err := os.CreateTemp(dir, "raw-")
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := fetch(ctx, st, raw); err != nil {
		return fmt.Errorf("%s: %w", st.Source, err)
	}
	if st.kind == "" {
		p.plain, p.file = true, raw.Name()
		return p.single(st, raw)
	}
	out, err := os.CreateTemp(dir, "pack-")
	if err != nil {
		return err
	}
	defer out.Close()
	if err := p.repack(st, raw, out); err != nil {
		return driver.Permanent(fmt.Errorf("%s: %w", st.Source, err))
	}
	p.file = out.Name()
	return os.Remove(raw.Name())
}

// fetch brings the content into a file and checks its sum.
func fetch(ctx context.Context, st *artefactState, to *os.File) error {
	var body io.ReadCloser
	var want string
	var err error
	if st.want.OCI != "" {
		body, want, err = openOCI(ctx, st.want.OCI)
	} else {
		want = st.Digest
		body, err = openURL(ctx, st.want.URL)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(body, maxArtefact+1))
	if err != nil {
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	if n > maxArtefact {
		return driver.Permanent(fmt.Errorf("it is larger than %d bytes", int64(maxArtefact)))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return driver.Permanent(fmt.Errorf("it has the sum %s, not %s", got, want))
	}
	_, err = to.Seek(0, io.SeekStart)
	return err
}

var artefactClient = &http.Client{
	Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, TLSHandshakeTimeout: 30 * time.Second},
	CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("more than 5 redirects")
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return errors.New("a redirect leads away from https")
		}
		return nil
	},
}

func openURL(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := artefactClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err := fmt.Errorf("the server answers %s", resp.Status)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
		}
		return nil, driver.Permanent(err)
	}
	return resp.Body, nil
}

// openOCI opens the one layer of an artefact, and gives the layer's digest.
func openOCI(ctx context.Context, reference string) (io.ReadCloser, string, error) {
	ref, err := name.NewDigest(reference)
	if err != nil {
		// A tag beside the digest is for people: the digest counts.
		at := strings.LastIndexByte(reference, '@')
		repo := reference[:at]
		if colon := strings.LastIndexByte(repo, ':'); colon > strings.LastIndexByte(repo, '/') {
			repo = repo[:colon]
		}
		if ref, err = name.NewDigest(repo + reference[at:]); err != nil {
			return nil, "", driver.Permanent(err)
		}
	}
	img, err := oci.Image(ref, oci.WithContext(ctx), oci.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	if len(layers) != 1 {
		return nil, "", driver.Permanent(fmt.Errorf("it has %d layers; an artefact has one, which is the file", len(layers)))
	}
	digest, err := layers[0].Digest()
	if err != nil {
		return nil, "", err
	}
	body, err := layers[0].Compressed()
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	return body, digest.Hex, nil
}
