//go:build real

package git_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
)

const canary = "cAnArY-5f1c-t0ken"

func token() source.Credentials { return source.Credentials{Token: secret.New(canary)} }

// served makes a repository below a root that is served over HTTP with a token.
func served(t *testing.T) (*gitserver.Repo, *gitserver.HTTP) {
	t.Helper()
	root := t.TempDir()
	r := gitserver.NewRepoAt(t, filepath.Join(root, "repo"))
	return r, gitserver.StartHTTP(t, gitserver.HTTPOptions{Root: root, User: "x-access-token", Password: canary})
}

func TestHTTPIsBlobless(t *testing.T) {
	r, s := served(t)
	a := r.Write("app/a", "alpha", "app/b", "beta", "other/big", strings.Repeat("x", 1000)).Commit("a")
	dir := t.TempDir()
	m := open(t, dir, source.Options{URL: s.URL + "/repo", Credentials: token()})
	if !fetch(t, m) {
		t.Error("first fetch brought nothing")
	}
	if kinds := objectKinds(t, dir); kinds["blob"] != 0 || kinds["tree"] == 0 {
		t.Fatalf("after fetch: %v", kinds)
	}
	v := view(t, m, a, "app")
	before := s.Requests.Load()
	if err := v.Prefetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Requests.Load() - before; n > 3 {
		t.Errorf("one prefetch took %d requests", n)
	}
	if kinds := objectKinds(t, dir); kinds["blob"] != 2 {
		t.Errorf("after prefetch: %v, want 2 blobs", kinds)
	}
	s.Down.Store(true)
	if b, err := v.ReadFile("app/a"); string(b) != "alpha" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("503: %v", err)
	}
	if _, err := view(t, m, a, "other").ReadFile("other/big"); !errors.Is(err, source.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("blob while down: %v", err)
	}
	s.Down.Store(false)
	if b, err := view(t, m, a, "other").ReadFile("other/big"); len(b) != 1000 {
		t.Errorf("blob on demand: %d %v", len(b), err)
	}
	b := r.Write("app/a", "ALPHA").Commit("b")
	if !fetch(t, m) || fetch(t, m) {
		t.Error("fetch after a push, then again")
	}
	if got, err := m.Changed(t.Context(), a, b); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if err := m.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rev, err := m.Blame(t.Context(), b, "app/a", 1); err != nil || rev.Commit != b {
		t.Errorf("blame: %+v %v", rev, err)
	}
	if b, err := view(t, m, b, "app").ReadFile("app/a"); string(b) != "ALPHA" {
		t.Errorf("after gc: %q %v", b, err)
	}
}

func objectKinds(t *testing.T, dir string) map[string]int {
	t.Helper()
	r := gitserver.At(t, filepath.Join(dir, "repo.git"))
	out := map[string]int{}
	for _, l := range strings.Fields(r.Git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")) {
		out[l]++
	}
	return out
}

func TestHTTPWithoutFilterSupport(t *testing.T) {
	r, s := served(t)
	c := r.Write("a", "a").Commit("a")
	r.Git("config", "uploadpack.allowFilter", "false")
	m := open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: token()})
	fetch(t, m)
	if b, err := view(t, m, c, ".").ReadFile("a"); string(b) != "a" {
		t.Errorf("%q %v", b, err)
	}
}

func TestHTTPRefusals(t *testing.T) {
	r, s := served(t)
	r.Write("a", "a").Commit("a")
	for name, cred := range map[string]source.Credentials{
		"wrong token": {Token: secret.New("wrong-" + canary)}, "wrong password": {Username: "x-access-token", Password: secret.New("wrong-" + canary)}, "none": {}} {
		m := open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: cred})
		_, err := m.Fetch(t.Context())
		if !errors.Is(err, source.ErrAuth) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrNotFetched) {
			t.Errorf("%s: resolve: %v", name, err)
		}
	}
	m := open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: token(), Follow: source.Follow{Branch: "gone"}})
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("no such branch: %v", err)
	}
	s.Close()
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("server gone: %v", err)
	}
}

func TestHTTPSWithOwnCA(t *testing.T) {
	root := t.TempDir()
	r := gitserver.NewRepoAt(t, filepath.Join(root, "repo"))
	r.Write("a", "a").Commit("a")
	s := gitserver.StartHTTP(t, gitserver.HTTPOptions{Root: root, User: "u", Password: canary, TLS: true})
	cred := source.Credentials{Username: "u", Password: secret.New(canary)}
	m := open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: cred})
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("an unknown CA was trusted: %v", err)
	}
	cred.CA = s.CA()
	fetch(t, open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: cred}))
}

func TestSSH(t *testing.T) {
	s := gitserver.StartSSH(t)
	r := gitserver.NewRepo(t)
	c := r.Write("a", "alpha").Commit("a")
	good := source.Credentials{SSHKey: secret.New(s.Key), KnownHosts: s.KnownHosts}
	dir := t.TempDir()
	m := open(t, dir, source.Options{URL: s.URL(r.Dir), Credentials: good})
	fetch(t, m)
	if b, err := view(t, m, c, ".").ReadFile("a"); string(b) != "alpha" {
		t.Errorf("%q %v", b, err)
	}
	noSecretIn(t, dir, s.Key[40:80])
	cases := map[string]struct {
		cred source.Credentials
		want error
	}{
		"unknown host":   {source.Credentials{SSHKey: good.SSHKey}, source.ErrHostKey},
		"other host key": {source.Credentials{SSHKey: good.SSHKey, KnownHosts: strings.Replace(s.KnownHosts, keyOf(s.KnownHosts), keyOf(s.OtherPublic), 1)}, source.ErrHostKey},
		"other key":      {source.Credentials{SSHKey: secret.New(s.OtherKey), KnownHosts: s.KnownHosts}, source.ErrAuth},
		"no key":         {source.Credentials{KnownHosts: s.KnownHosts}, source.ErrAuth},
		"not a key":      {source.Credentials{SSHKey: secret.New(canary), KnownHosts: s.KnownHosts}, source.ErrAuth},
	}
	for name, c := range cases {
		_, err := open(t, t.TempDir(), source.Options{URL: s.URL(r.Dir), Credentials: c.cred}).Fetch(t.Context())
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Stop()
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("server gone: %v", err)
	}
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c {
		t.Errorf("the last commit stays in force: %v %v", rev, err)
	}
}

func keyOf(line string) string {
	for _, f := range strings.Fields(line) {
		if strings.HasPrefix(f, "AAAA") {
			return f
		}
	}
	return ""
}

func noSecretIn(t *testing.T, dir, secret string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(p); bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds the secret", p)
			}
		}
		return nil
	})
}

// TestTokenNowhere looks at the command lines of all processes while fetches
// run, and at every file afterwards.
func TestTokenNowhere(t *testing.T) {
	r, s := served(t)
	r.Write("a", strings.Repeat("a", 10000)).Commit("a")
	stop, seen := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(seen)
		for looks := 0; ; looks++ {
			select {
			case <-stop:
				return
			default:
			}
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, l := range lines {
				if b, _ := os.ReadFile(l); bytes.Contains(b, []byte(canary)) || bytes.Contains(b, []byte("Authorization")) {
					seen <- l + " " + string(b)
					return
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	dir := t.TempDir()
	for range 5 {
		m := open(t, filepath.Join(dir, "m"), source.Options{URL: s.URL + "/repo", Credentials: token()})
		fetch(t, m)
		r.Write("a", time.Now().String()).Commit("again")
	}
	close(stop)
	if l, bad := <-seen; bad {
		t.Error(l)
	}
	noSecretIn(t, dir, canary)
	noSecretIn(t, dir, "eC1hY2Nlc3M") // base64 of the user name, as in the header
}

// TestSilentServerTimesOut: a server that takes the request and says nothing.
func TestSilentServerTimesOut(t *testing.T) {
	r, s := served(t)
	r.Write("a", "a").Commit("a")
	release := make(chan struct{})
	defer close(release)
	s.Extra = func(http.ResponseWriter, *http.Request) bool { <-release; return true }
	m := open(t, t.TempDir(), source.Options{URL: s.URL + "/repo", Credentials: token(), Timeout: time.Second})
	start := time.Now()
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("took %s", took)
	}
	time.Sleep(200 * time.Millisecond)
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, l := range lines {
		if b, _ := os.ReadFile(l); bytes.Contains(b, []byte("git-remote-http")) && bytes.Contains(b, []byte(s.URL)) {
			t.Errorf("left behind: %s", b)
		}
	}
}
