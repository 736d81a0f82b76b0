package gitserver

import (
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// HTTP is git http-backend behind a web server with basic authentication.
type HTTP struct {
	*httptest.Server
	// Requests counts the requests served.
	Requests atomic.Int64
	// Down makes every request fail with 503.
	Down atomic.Bool
	// Extra handles paths that it returns true for, before Git does.
	Extra func(w http.ResponseWriter, r *http.Request) bool
}

// HTTPOptions say how to serve.
type HTTPOptions struct {
	Root     string // repositories below it are served
	User     string // "" lets everybody in
	Password string
	TLS      bool
}

// StartHTTP serves the repositories below a directory over smart HTTP.
func StartHTTP(tb testing.TB, opt HTTPOptions) *HTTP {
	tb.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		tb.Fatalf("git is missing; install it (Debian: apt-get install git): %v", err)
	}
	root, err := filepath.EvalSymlinks(opt.Root)
	if err != nil {
		tb.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Dir:  root,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	s := &HTTP{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Requests.Add(1)
		if s.Down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		if user, pass, _ := r.BasicAuth(); opt.User != "" && (user != opt.User || pass != opt.Password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if s.Extra != nil && s.Extra(w, r) {
			return
		}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			withProtocol := *backend
			withProtocol.Env = append(append([]string{}, backend.Env...), "GIT_PROTOCOL="+p)
			withProtocol.ServeHTTP(w, r)
			return
		}
		backend.ServeHTTP(w, r)
	})
	s.Server = httptest.NewUnstartedServer(h)
	if opt.TLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	tb.Cleanup(s.Close)
	return s
}

// CA gives the certificate of a TLS server, in PEM form.
func (s *HTTP) CA() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}
