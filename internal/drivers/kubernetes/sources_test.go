package kubernetes_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ociregistry "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// artefacts is a registry on loopback that asks for a password, with a chart
// repository beside it.
type artefacts struct {
	*httptest.Server
	t     *testing.T
	away  atomic.Bool
	chart []byte
}

func newArtefacts(t *testing.T) *artefacts {
	t.Helper()
	a := &artefacts{t: t}
	real := ociregistry.New(ociregistry.Logger(log.New(io.Discard, "", 0)))
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case a.away.Load():
			w.WriteHeader(http.StatusBadGateway)
		case password != "canary-registry" && r.Header.Get("X-Push") == "":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/charts/index.yaml":
			_, _ = io.WriteString(w, "apiVersion: v1\nentries: {shop: [{version: 1.0.0, urls: [shop-1.0.0.tgz]}]}\n")
		case r.URL.Path == "/charts/shop-1.0.0.tgz":
			_, _ = w.Write(a.chart)
		default:
			real.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

type pushes struct{}

func (pushes) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Push", "1")
	return http.DefaultTransport.RoundTrip(r)
}

func (a *artefacts) host() string { return strings.TrimPrefix(a.URL, "http://") }

// push gives the digest of an artefact with one layer.
func (a *artefacts) push(repo, media string, body []byte) string {
	a.t.Helper()
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(body, types.MediaType(media))})
	if err != nil {
		a.t.Fatal(err)
	}
	ref, err := name.NewTag(a.host()+"/"+repo+":1.0.0", name.Insecure)
	if err == nil {
		err = remote.Write(ref, img, remote.WithTransport(pushes{}))
	}
	if err != nil {
		a.t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		a.t.Fatal(err)
	}
	return d.String()
}

func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for n, text := range files {
		if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// connect opens a session that may fetch below the sources.
func (a *artefacts) connect(b *bed, sources ...string) {
	a.t.Helper()
	env := environment(b.Kubeconfig(), func(c *kubernetes.Connect) {
		for _, s := range sources {
			c.Sources = append(c.Sources, registry.Source{URL: s, Insecure: true, Username: "robot", Password: "mem:registry"})
		}
	})
	config := env.Secret
	env.Secret = func(ctx context.Context, ref secret.Ref) (secret.Value, error) {
		if ref == "mem:registry" {
			return secret.New("canary-registry"), nil
		}
		return config(ctx, ref)
	}
	var err error
	if b.session, err = kubernetes.New().Open(a.t.Context(), env, driver.Write); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = b.session.Close() })
}

const fetchedMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\ndata: {from: %}\n"

// TestArtefactsBesideGit: an OCI artefact that is pinned by its digest is
// rendered in the place of the path, and so are charts from a registry and
// from a chart repository.
func TestArtefactsBesideGit(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a, b := newArtefacts(t), newBed(t, nil)
	manifests := packed(t, map[string]string{"deploy/one.yaml": strings.Replace(fetchedMap, "%", "artefact", 1)})
	a.chart = packed(t, map[string]string{"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n", "shop/templates/one.yaml": strings.Replace(fetchedMap, "%", "{{ .Chart.Name }}-chart", 1)})
	sum := sha256.Sum256(a.chart)
	oci, charts := "oci://"+a.host()+"/acme", a.URL+"/charts"
	a.connect(b, oci, charts)
	for what, spec := range map[string]render.Spec{
		"artefact": {Source: &render.Artefact{Source: render.Source{URL: oci + "/shop", Digest: a.push("acme/shop", registry.FluxContent, manifests)}, Path: "deploy"}},
		"shop-chart": {Render: render.Helm, Helm: &render.HelmSpec{ReleaseName: "shop", Source: &render.Source{URL: oci + "/charts/shop", Version: "1.0.0",
			Digest: a.push("acme/charts/shop", registry.ChartContent, a.chart)}}},
		"shop-chart ": {Render: render.Helm, Helm: &render.HelmSpec{ReleaseName: "shop", Source: &render.Source{URL: charts, Name: "shop", Version: "1.0.0",
			Digest: "sha256:" + hex.EncodeToString(sum[:])}}},
	} {
		b.spec.Spec = spec
		p, err := b.prepared(b.input())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		c := b.only(p, "ConfigMap/shop/one", plan.Create)
		contains(t, string(c.After), `"from":"`+strings.TrimSpace(what)+`"`)
	}
}

// TestArtefactsThatCannotBeHad are an error, never an empty target: what is
// there stays.
func TestArtefactsThatCannotBeHad(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a, b := newArtefacts(t), newBed(t, nil)
	oci := "oci://" + a.host() + "/acme"
	digest := a.push("acme/shop", registry.FluxContent, packed(t, map[string]string{"one.yaml": strings.Replace(fetchedMap, "%", "artefact", 1)}))
	b.owned = driver.Inventory{plan.Key{Address: "ConfigMap/shop/one"}: {Key: plan.Key{Address: "ConfigMap/shop/one"}, Kind: "ConfigMap"}}
	fails := func(what, url, digest, want string) {
		t.Helper()
		b.spec.Spec = render.Spec{Source: &render.Artefact{Source: render.Source{URL: url, Digest: digest}}}
		p, err := b.prepared(b.input())
		if err == nil {
			t.Fatalf("%s: %+v", what, p.Changes)
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", what, err)
		}
	}
	a.connect(b)
	fails("no sources", oci+"/shop", digest, "connect.sources")
	a.connect(b, oci)
	fails("another place", "oci://"+a.host()+"/other/shop", digest, "connect.sources")
	fails("another digest", oci+"/shop", "sha256:"+strings.Repeat("0", 64), "not found")
	a.away.Store(true)
	fails("away", oci+"/shop", digest, "unreachable")
}
