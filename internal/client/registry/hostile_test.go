package registry

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
)

// TestNothingBesideTheSourcesIsContacted: neither what a repository asks for
// nor what a registry answers leads anywhere else.
func TestNothingBesideTheSourcesIsContacted(t *testing.T) {
	w := newWorld(t)
	digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
	w.push("other/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
	c := client(t, Options{Sources: []Source{w.source("acme")}})
	for _, url := range []string{
		"oci://" + w.host() + "/other/shop", "oci://" + w.host() + "/acme-evil/shop", "oci://" + w.host() + "/acme/../other/shop",
		"oci://" + w.host() + "/acme/%2e%2e/other/shop", "oci://" + w.host() + "/acme//shop", "oci://" + w.host(), "oci://" + w.host() + "/acme/shop?x=y",
		"oci://" + w.host() + "/acme/shop#x", "oci://" + w.host() + "/acme/shop:1", "oci://u:secretword@" + w.host() + "/acme/shop", "http://" + w.host() + "/acme/shop",
		"https://" + w.host() + "/acme/shop", "oci://169.254.169.254/acme/shop", "oci:///acme/shop", "oci:acme/shop", "acme/shop", "file:///etc/passwd", "oci://" + w.host() + "@evil/acme/shop",
		"oci://" + w.host() + "/acme/" + strings.Repeat("a", 2000), "oci://" + w.host() + "\\/acme/shop", "",
	} {
		_, err := c.Fetch(t.Context(), url, "", "", digest)
		if !driver.IsPermanent(err) || strings.Contains(err.Error(), "secretword") {
			t.Errorf("%.80s: %v", url, err)
		}
		if c.Allows(url) == nil {
			t.Errorf("%.80s is allowed", url)
		}
	}
	for _, name := range []string{"..", "../other/shop", "x/../../other", "shop:1", "shop@" + digest, "/", "a b"} {
		if _, err := c.Fetch(t.Context(), "oci://"+w.host()+"/acme", name, "", digest); !driver.IsPermanent(err) {
			t.Errorf("the name %s: %v", name, err)
		}
	}
	for _, d := range []string{"", "latest", "sha256:", "sha256:" + strings.Repeat("A", 64), "sha512:" + strings.Repeat("a", 128), digest + "\n"} {
		if _, err := c.Fetch(t.Context(), "oci://"+w.host()+"/acme/shop", "", "", d); !driver.IsPermanent(err) {
			t.Errorf("the digest %q: %v", d, err)
		}
	}
	if r := w.requests(); len(r) != 0 {
		t.Fatalf("requests were sent: %v", r)
	}
}

func TestRegistriesLeadNowhere(t *testing.T) {
	away, hits := stranger(t)
	redirect := func(part, to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, part) {
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
				return true
			}
			return false
		}
	}
	link := func(to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/acme/shop/tags/list") {
				w.Header().Set("Link", "<"+to+`>; rel="next"`)
				_, _ = io.WriteString(w, `{"tags":["1"]}`)
				return true
			}
			return false
		}
	}
	for what, door := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"ping":           redirect("/v2/", away+"/v2/"),
		"manifest":       redirect("/manifests/", away+"/m?signature=hidden"),
		"blob":           redirect("/blobs/", away+"/b?signature=hidden"),
		"tags":           redirect("/tags/", away+"/t"),
		"another repo":   redirect("/acme/shop/", "/v2/other/shop/manifests/1"),
		"dots":           redirect("/acme/shop/", "/v2/acme/../other/shop/manifests/1"),
		"encoded dots":   redirect("/acme/shop/", "/v2/acme/%2e%2e/other/shop/manifests/1"),
		"token":          bearer(away+"/token", "u", "p"),
		"link":           link(away + "/v2/acme/shop/tags/list"),
		"link elsewhere": link("/v2/other/shop/tags/list"),
	} {
		w := newWorld(t)
		digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
		w.push("other/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
		w.door = door
		c := client(t, Options{Sources: []Source{w.source("acme")}})
		url := "oci://" + w.host() + "/acme/shop"
		_, err1 := c.Fetch(t.Context(), url, "", "", digest)
		_, err2 := c.Tags(t.Context(), url)
		if err1 == nil && err2 == nil {
			t.Errorf("%s: neither was refused", what)
		}
		if s := fmt.Sprint(err1, err2); strings.Contains(s, "hidden") {
			t.Errorf("%s: %s", what, s)
		}
		for _, r := range w.requests() {
			if strings.Contains(r, "/other/") {
				t.Errorf("%s: %s", what, r)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Fatalf("the stranger got %d requests", n)
	}
}

func TestWrongContent(t *testing.T) {
	for what, door := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"another manifest": answer("/manifests/", `{"schemaVersion":2,"layers":[]}`),
		"another layer":    answer("/blobs/", "something else"),
		"endless manifest": endless("/manifests/"),
		"endless layer":    endless("/blobs/"),
		"endless ping":     endless("/v2/"),
	} {
		w := newWorld(t)
		digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
		w.door = door
		c := client(t, Options{Sources: []Source{w.source("acme")}})
		if b, err := c.Fetch(t.Context(), "oci://"+w.host()+"/acme/shop", "", "", digest); err == nil {
			t.Errorf("%s: %d bytes were taken", what, len(b))
		}
	}
	for what, img := range map[string]string{"an image's layers": "application/octet-stream", "zstd": "application/vnd.oci.image.layer.v1.tar+zstd"} {
		w := newWorld(t)
		digest := w.push("acme/shop", "1", artefactOf(t, typesOf(img), []byte("x")))
		c := client(t, Options{Sources: []Source{w.source("acme")}})
		if _, err := c.Fetch(t.Context(), "oci://"+w.host()+"/acme/shop", "", "", digest); !errors.Is(err, ErrContent) || !driver.IsPermanent(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func answer(part, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		_, _ = io.WriteString(w, body)
		return true
	}
}

// endless sends zeros without end, in a form that takes little on the way.
func endless(part string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.Header().Set("Content-Encoding", "gzip")
		gz := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for {
			if _, err := gz.Write(zeros); err != nil {
				return true
			}
		}
	}
}

func TestEndlessTags(t *testing.T) {
	w := newWorld(t)
	n := 0
	w.door = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		n++
		rw.Header().Set("Link", fmt.Sprintf(`</v2/acme/shop/tags/list?last=%d>; rel="next"`, n))
		_, _ = fmt.Fprintf(rw, `{"tags":["t%d"]}`, n%3)
		return true
	}
	c := client(t, Options{Sources: []Source{w.source("acme")}})
	if tags, err := c.Tags(t.Context(), "oci://"+w.host()+"/acme/shop"); !errors.Is(err, ErrContent) {
		t.Fatalf("%d tags after %d pages: %v", len(tags), n, err)
	}
}

// TestNamesByAStarLeadToPublicAddressesOnly: the name could be anybody's.
func TestNamesByAStarLeadToPublicAddressesOnly(t *testing.T) {
	_, hits := stranger(t)
	src, err := Source{URL: "oci://reg.example.com/acme", Hosts: []string{"*.0.0.1", "metadata.example.com"}}.parse()
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGuard(src, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if conn, err := g.dial(context.Background(), "tcp", w.host()); !errors.Is(err, ErrRefused) {
		t.Errorf("loopback by a star: %v, %v", conn, err)
	}
	if conn, err := g.dial(context.Background(), "tcp", "169.254.169.254:80"); !errors.Is(err, ErrRefused) {
		t.Errorf("a link-local address: %v, %v", conn, err)
	}
	if hits.Load() != 0 {
		t.Error("it was contacted")
	}
}

func TestSourcesAreChecked(t *testing.T) {
	good := []Source{
		{URL: "oci://docker.io/library", Hosts: []string{"auth.docker.io", "*.cloudflarestorage.com"}}, {URL: "oci://reg.example.com"},
		{URL: "https://charts.example.com/stable/"}, {URL: "http://charts.example.com", Insecure: true}, {URL: "oci://[::1]:5000/x", Insecure: true},
	}
	if err := Check("sources", good).Err(); err != nil {
		t.Error(err)
	}
	for _, s := range []Source{
		{}, {URL: "reg.example.com/acme"}, {URL: "http://charts.example.com"}, {URL: "https://charts.example.com", Insecure: true}, {URL: "oci://u:p@reg.example.com"},
		{URL: "oci://reg.example.com/Acme"}, {URL: "oci://reg.example.com/acme:1"}, {URL: "oci://reg.example.com", Username: "u"}, {URL: "oci://reg.example.com", Password: "env:X"},
		{URL: "oci://reg.example.com", Username: "u", Password: "hunter2"}, {URL: "oci://reg.example.com", CA: "x", Insecure: true}, {URL: "oci://reg.example.com", Hosts: []string{"*"}},
		{URL: "oci://reg.example.com", Hosts: []string{"*.com"}}, {URL: "oci://reg.example.com", Hosts: []string{"https://x.example.com"}}, {URL: "https://x.example.com/a?b"},
	} {
		if err := s.Check("x").Err(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "x.") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := Check("sources", []Source{good[0], good[0]}).Err(); err == nil || !strings.HasPrefix(err.Error(), "sources[1].url: ") {
		t.Errorf("a source twice: %v", err)
	}
}

func TestDockerHubHasTwoNames(t *testing.T) {
	c := client(t, Options{Sources: []Source{{URL: "oci://docker.io/library"}}})
	for _, url := range []string{"oci://docker.io/library/nginx", "oci://index.docker.io/library/nginx", "oci://docker.io/nginx"} {
		if err := c.Allows(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if !Covers([]Source{{URL: "oci://docker.io/library"}}, "oci://docker.io/nginx") || Covers([]Source{{URL: "oci://docker.io/library"}}, "oci://docker.io/evil/nginx") {
		t.Error("Covers says something else")
	}
	if c.Allows("oci://docker.io/evil/nginx") == nil {
		t.Error("another namespace is allowed")
	}
}
