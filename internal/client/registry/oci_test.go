package registry

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	reg "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"trueup.dev/trueup/internal/driver"
)

func TestArtefactsAreFetchedByDigest(t *testing.T) {
	w := newWorld(t)
	files := tgz(t, map[string]string{"deploy.yaml": "kind: Deployment\n"})
	for _, media := range []string{FluxContent, ChartContent, "application/vnd.oci.image.layer.v1.tar+gzip"} {
		digest := w.push("acme/shop", "1.0.0", artefactOf(t, typesOf(media), files))
		c := client(t, Options{Sources: []Source{w.source("acme")}})
		got, err := c.Fetch(t.Context(), "oci://"+w.host()+"/acme/shop", "", "", digest)
		if err != nil || string(got) != string(files) {
			t.Fatalf("%s: %d bytes, %v", media, len(got), err)
		}
		got[0]++ // what a caller does with it is its own affair
		w.requests()
		if got, err = c.Fetch(t.Context(), "oci://"+w.host()+"/acme", "shop", "", digest); err != nil || string(got) != string(files) {
			t.Fatalf("by name: %v", err)
		}
		if r := w.requests(); len(r) != 0 {
			t.Errorf("what is there already was asked for again: %v", r)
		}
	}
}

func TestTagsComeInPages(t *testing.T) {
	w := newWorld(t)
	img, err := random.Image(8, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.push("acme/shop", "1.0.0", img)
	var want []string
	for i := range 2500 {
		want = append(want, fmt.Sprintf("1.0.%d", i))
	}
	w.door = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		from := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("last"), &from)
		to := min(from+1000, len(want))
		if to < len(want) {
			rw.Header().Set("Link", fmt.Sprintf(`</v2/acme/shop/tags/list?n=1000&last=%d>; rel="next"`, to))
		}
		_, _ = fmt.Fprintf(rw, `{"name":"acme/shop","tags":["%s","-no tag-"]}`, strings.Join(want[from:to], `","`))
		return true
	}
	c := client(t, Options{Sources: []Source{w.source("acme")}})
	got, err := c.Tags(t.Context(), "oci://"+w.host()+"/acme/shop")
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d tags, %v", len(got), err)
	}
	digest, err := c.Digest(t.Context(), "oci://"+w.host()+"/acme/shop", "1.0.0")
	if d, _ := img.Digest(); err != nil || digest != d.String() {
		t.Fatalf("%s, %v", digest, err)
	}
	if _, err := c.Digest(t.Context(), "oci://"+w.host()+"/acme/shop", "9.9.9"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tag that is not there: %v", err)
	}
}

func TestCreated(t *testing.T) {
	w := newWorld(t)
	digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, nil)))
	c := client(t, Options{Sources: []Source{w.source("acme")}})
	at, err := c.Created(t.Context(), "oci://"+w.host()+"/acme/shop", digest)
	if err != nil || !at.Equal(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)) {
		t.Fatalf("%v, %v", at, err)
	}
}

func TestLogins(t *testing.T) {
	w := newWorld(t)
	digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
	url := "oci://" + w.host() + "/acme/shop"
	for what, door := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"basic": basic("robot", "right"), "bearer": bearer(w.srv.URL+"/token", "robot", "right"),
	} {
		w.door = door
		s := w.source("acme")
		passwords := vault{"env:TOKEN": "wrong"}
		s.Username, s.Password = "robot", "env:TOKEN"
		c := client(t, Options{Sources: []Source{s}, Secret: passwords.get})
		_, err := c.Tags(t.Context(), url)
		if !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: a wrong password: %v", what, err)
		}
		passwords["env:TOKEN"] = "right" // it was mended meanwhile
		if _, err = c.Fetch(t.Context(), url, "", "", digest); err != nil {
			t.Errorf("%s: the right password: %v", what, err)
		}
		if tags, err := c.Tags(t.Context(), url); err != nil || len(tags) != 1 {
			t.Errorf("%s: %v, %v", what, tags, err)
		}
		nobody := client(t, Options{Sources: []Source{w.source("acme")}})
		if _, err = nobody.Fetch(t.Context(), url, "", "", digest); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: without a password: %v", what, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	srv := httptest.NewTLSServer(reg.New())
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	s := Source{URL: "oci://" + strings.TrimPrefix(srv.URL, "https://") + "/acme", CA: "ca.pem"}
	good := client(t, Options{Sources: []Source{s}, Dir: dir})
	if _, err := good.Tags(t.Context(), s.URL+"/shop"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a registry with a certificate of our own: %v", err)
	}
	s.CA = ""
	if _, err := client(t, Options{Sources: []Source{s}}).Tags(t.Context(), s.URL+"/shop"); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("an unknown certificate: %v", err)
	}
	// A registry that only speaks plain HTTP gets no request that could show
	// anything, unless the operator said so; not even on loopback.
	w := newWorld(t)
	s = w.source("acme")
	s.Insecure = false
	if _, err := client(t, Options{Sources: []Source{s}}).Tags(t.Context(), s.URL+"/shop"); err == nil {
		t.Error("plain HTTP was spoken without being asked to")
	}
	if r := w.requests(); len(r) != 0 {
		t.Errorf("plain requests: %v", r)
	}
}

func TestLimits(t *testing.T) {
	w, now := newWorld(t), newClock()
	after := "90"
	w.door = func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Retry-After", after)
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	c := client(t, Options{Sources: []Source{w.source("acme")}, Now: now.now})
	ask := func() (time.Time, int, error) {
		_, err := c.Tags(t.Context(), "oci://"+w.host()+"/acme/shop")
		var l *Limited
		if !errors.As(err, &l) {
			return time.Time{}, len(w.requests()), err
		}
		return l.Until, len(w.requests()), err
	}
	until, n, err := ask()
	if !until.Equal(now.now().Add(90*time.Second)) || n != 1 || !errors.Is(err, driver.ErrUnreachable) {
		t.Fatalf("until %v after %d requests: %v", until, n, err)
	}
	now.add(89 * time.Second)
	if _, n, _ := ask(); n != 0 {
		t.Errorf("%d requests within the pause", n)
	}
	now.add(time.Second)
	after = now.now().Add(time.Hour).Format(http.TimeFormat)
	if until, n, _ := ask(); !until.Equal(now.now().Add(time.Hour)) || n != 1 {
		t.Errorf("a date: until %v after %d requests", until, n)
	}
	now.add(2 * time.Hour)
	after = "99999999999"
	if until, _, _ := ask(); until.After(now.now().Add(maxPause)) {
		t.Errorf("a server may not silence us until %v", until)
	}
	now.add(2 * maxPause)
	w.door = nil
	if _, _, err := ask(); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the pause: %v", err)
	}
}

func TestManyAskForOneArtefact(t *testing.T) {
	w := newWorld(t)
	digest := w.push("acme/shop", "1", artefactOf(t, FluxContent, tgz(t, map[string]string{"a": "b"})))
	release := make(chan struct{})
	w.door = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-release
		}
		return false
	}
	c := client(t, Options{Sources: []Source{w.source("acme")}})
	url := "oci://" + w.host() + "/acme/shop"
	first, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Fetch(first, url, "", "", digest); !errors.Is(err, context.Canceled) {
			t.Errorf("the one who gave up: %v", err)
		}
	})
	for !slices.ContainsFunc(w.peek(), func(s string) bool { return strings.Contains(s, "/blobs/") }) {
		time.Sleep(time.Millisecond)
	}
	for range 10 {
		wg.Go(func() {
			if _, err := c.Fetch(t.Context(), url, "", "", digest); err != nil {
				t.Errorf("one who waits: %v", err)
			}
		})
	}
	cancel()
	close(release)
	wg.Wait()
	blobs := slices.DeleteFunc(w.requests(), func(s string) bool { return !strings.Contains(s, "/blobs/") })
	if len(blobs) != 1 {
		t.Errorf("one artefact was fetched %d times", len(blobs))
	}
}
