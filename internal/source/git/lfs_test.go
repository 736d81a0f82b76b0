package git_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
)

// lfsServer speaks the batch API (git-lfs docs/api/batch.md) and hands objects
// out from another host name, as real ones do.
type lfsServer struct {
	*httptest.Server
	storage *httptest.Server
	content string // what is sent for every object
	leaked  string // credentials that the storage host saw
}

func startLFS(t *testing.T) *lfsServer {
	s := &lfsServer{}
	s.storage = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.leaked += r.Header.Get("Authorization")
		if r.Header.Get("X-Signed") != "yes" {
			http.Error(w, "unsigned", http.StatusForbidden)
			return
		}
		io.WriteString(w, s.content)
	}))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pass, _ := r.BasicAuth()
		var ask struct {
			Operation string
			Objects   []struct {
				OID  string
				Size int64
			}
		}
		err := json.NewDecoder(r.Body).Decode(&ask)
		if pass != "lfs-pass" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err != nil || r.URL.Path != "/lfs/objects/batch" || r.Header.Get("Accept") != "application/vnd.git-lfs+json" || ask.Operation != "download" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		fmt.Fprintf(w, `{"transfer":"basic","objects":[{"oid":%q,"size":%d,"actions":{"download":{"href":%q,"header":{"X-Signed":"yes"}}}}]}`,
			ask.Objects[0].OID, ask.Objects[0].Size, s.storage.URL+"/o")
	}))
	t.Cleanup(s.Server.Close)
	t.Cleanup(s.storage.Close)
	return s
}

func TestLFS(t *testing.T) {
	s := startLFS(t)
	s.content = strings.Repeat("large ", 100)
	sum := sha256.Sum256([]byte(s.content))
	ptr := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", hex.EncodeToString(sum[:]), len(s.content))
	r := gitserver.NewRepo(t)
	c := r.Write("big.bin", ptr).Commit("c")
	read := func(dir, pass string) (string, error) {
		m := open(t, dir, source.Options{URL: r.Dir, LFS: source.LFS{Enabled: true, URL: s.URL + "/lfs"}, Credentials: source.Credentials{Username: "u", Password: secret.New(pass)}})
		fetch(t, m)
		b, err := view(t, m, c, ".").ReadFile("big.bin")
		return string(b), err
	}
	dir := filepath.Join(t.TempDir(), "m")
	if b, err := read(dir, "lfs-pass"); b != s.content {
		t.Fatalf("%q %v", b, err)
	}
	if s.leaked != "" {
		t.Errorf("the storage host saw the credentials")
	}
	if _, err := read(filepath.Join(t.TempDir(), "m"), "wrong"); !errors.Is(err, source.ErrAuth) {
		t.Errorf("wrong password: %v", err)
	}
	for _, evil := range []string{strings.Replace(s.content, "large", "evil!", 1), s.content + "x", s.content[1:]} {
		s.content = evil
		if b, err := read(filepath.Join(t.TempDir(), "m"), "lfs-pass"); err == nil {
			t.Errorf("a wrong object was taken: %q", b)
		}
	}
	s.Close()
	if b, err := read(dir, "lfs-pass"); err != nil || !strings.HasPrefix(b, "large") {
		t.Errorf("from the mirror: %q %v", b, err)
	}
	if _, err := read(filepath.Join(t.TempDir(), "m"), "lfs-pass"); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("server gone: %v", err)
	}
}
