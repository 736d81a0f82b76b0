package tofu

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"trueup.dev/trueup/internal/servertest/built"
)

// Terraform gives the path of the Terraform that is installed, or builds
// 1.5.7, the last one whose licence is the MPL and whose module needs no other
// sources than the module proxy has.
func Terraform() (string, error) {
	if p, err := exec.LookPath("terraform"); err == nil {
		return p, nil
	}
	return built.Program("terraform")
}

// Mirror builds the test provider and gives a directory to use as a
// filesystem_mirror by both programs.
func Mirror(t testing.TB) string {
	t.Helper()
	p, err := built.Program("terraform-provider-things")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		at := filepath.Join(dir, host, "trueup", "things", "1.0.0", runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(at, "terraform-provider-things_v1.0.0")
		if err := os.Link(p, name); err != nil {
			if err = copyFile(p, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// Thing is an object on the test's server.
type Thing struct {
	Value   string `json:"value"`
	Secret  string `json:"secret,omitempty"`
	Address string `json:"address,omitempty"`
}

// Things is the server that the test provider talks to.
type Things struct {
	URL, Token string

	mu    sync.Mutex
	all   map[string]Thing
	calls []string
	block map[string]bool
	gate  map[string]chan struct{}
	made  int
}

// NewThings starts the server; it ends with the test.
func NewThings(t testing.TB, token string) *Things {
	t.Helper()
	s := &Things{Token: token, all: map[string]Thing{}, block: map[string]bool{}, gate: map[string]chan struct{}{}}
	srv := httptest.NewServer(s)
	s.URL = srv.URL
	t.Cleanup(func() {
		s.mu.Lock()
		for name, g := range s.gate {
			close(g)
			delete(s.gate, name)
		}
		s.mu.Unlock()
		srv.CloseClientConnections()
		srv.Close()
	})
	return s
}

// ServeHTTP answers the provider.
func (s *Things) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	token := s.Token
	s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/things/")
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+name)
	gate, blocked := s.gate[name], s.block[name]
	s.mu.Unlock()
	if r.Method != http.MethodGet {
		if blocked {
			http.Error(w, "not this one", http.StatusForbidden)
			return
		}
		if gate != nil {
			<-gate
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer(w, r.Method, name, body)
}

func (s *Things) answer(w http.ResponseWriter, method, name string, body []byte) {
	switch method {
	case http.MethodPut:
		var in Thing
		if err := json.Unmarshal(body, &in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if in.Address = s.all[name].Address; in.Address == "" {
			s.made++
			in.Address = fmt.Sprintf("192.0.2.%d", s.made)
		}
		s.all[name] = in
	case http.MethodDelete:
		delete(s.all, name)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	o, ok := s.all[name]
	if !ok {
		http.NotFound(w, nil)
		return
	}
	_ = json.NewEncoder(w).Encode(o)
}

// SetToken changes the credential that is taken.
func (s *Things) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Token = token
}

// All gives every object.
func (s *Things) All() map[string]Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all)
}

// Set makes or changes an object by hand.
func (s *Things) Set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.all[name]
	o.Value = value
	s.all[name] = o
}

// Unset removes an object by hand.
func (s *Things) Unset(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
}

// Writes counts requests that write an object; "" counts all.
func (s *Things) Writes(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if !strings.HasPrefix(c, "GET ") && (name == "" || strings.HasSuffix(c, " "+name)) {
			n++
		}
	}
	return n
}

// Block refuses writes to an object until mend is called.
func (s *Things) Block(name string) (mend func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block[name] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.block, name)
	}
}

// Stall keeps writes to an object waiting until open is called.
func (s *Things) Stall(name string) (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := make(chan struct{})
	s.gate[name] = g
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.gate[name] == g {
			close(g)
			delete(s.gate, name)
		}
	}
}
