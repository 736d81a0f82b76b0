package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	reg "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"trueup.dev/trueup/internal/secret"
)

// world is a registry on loopback, with a door in front of it.
type world struct {
	t    *testing.T
	srv  *httptest.Server
	open bool // nobody has to log in: for pushing
	// door answers a request itself and tells so.
	door func(w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	real := reg.New(reg.Logger(log.New(io.Discard, "", 0)))
	w.srv = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.seen = append(w.seen, r.Method+" "+r.URL.RequestURI())
		open := w.open
		w.mu.Unlock()
		if !open && w.door != nil && w.door(rw, r) {
			return
		}
		real.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.srv.Close)
	return w
}

func (w *world) host() string { return strings.TrimPrefix(w.srv.URL, "http://") }

func (w *world) source(path string) Source {
	return Source{URL: "oci://" + w.host() + "/" + path, Insecure: true}
}

// requests gives what was asked since the last time.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.seen
	w.seen = nil
	return out
}

func (w *world) push(repo, tag string, img v1.Image) string {
	w.t.Helper()
	w.mu.Lock()
	w.open = true
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.open, w.seen = false, nil; w.mu.Unlock() }()
	ref, err := name.NewTag(w.host()+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		w.t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	return d.String()
}

// artefactOf makes an OCI artefact with one layer.
func artefactOf(t *testing.T, media types.MediaType, content []byte) v1.Image {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img, err := mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(content, media)})
	if err != nil {
		t.Fatal(err)
	}
	return mutate.Annotations(img, map[string]string{"org.opencontainers.image.created": "2026-05-04T03:02:01Z"}).(v1.Image)
}

func tgz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var heads []tar.Header
	names := slices.Sorted(maps.Keys(files))
	for _, n := range names {
		heads = append(heads, tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg})
	}
	return tarOf(t, heads, func(n string) string { return files[n] })
}

func tarOf(t *testing.T, heads []tar.Header, content func(string) string) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for _, h := range heads {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(tw, content(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tw.Close() != nil || gz.Close() != nil {
		t.Fatal("the archive can't be written")
	}
	return buf.Bytes()
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// vault is where passwords come from in tests.
type vault map[secret.Ref]string

func (v vault) get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	if s, ok := v[ref]; ok {
		return secret.New(s), nil
	}
	return secret.Value{}, secret.ErrNotFound
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// basic asks for a name and password.
func basic(user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// bearer gives tokens for a name and password at a realm, and asks for them.
func bearer(realm, user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			u, p, _ := r.BasicAuth()
			if u != user || p != password {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"token": "T " + r.URL.Query().Get("scope"), "expires_in": 300})
			return true
		}
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer T repository:") {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// stranger is a server that nobody may reach.
func stranger(t *testing.T) (url string, hits *atomic.Int32) {
	hits = &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = io.WriteString(w, `{"token":"x"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, hits
}

type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

func (w *world) peek() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func typesOf(s string) types.MediaType { return types.MediaType(s) }
