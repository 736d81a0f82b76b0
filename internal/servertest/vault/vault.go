// Package vault starts a real Vault server on loopback for tests, with its
// storage in memory:
//
//	v := vault.Start(t) // built into the cache directory the first time
//	v.API(t, "POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
//	v.API(t, "POST", "kv/data/dns", map[string]any{"data": map[string]any{"tsig": "s3cret"}})
//
// It has the engines kv and leased (key-value with a lease, for what is made
// on demand elsewhere), and the logins token, approle, jwt and kubernetes.
package vault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/servertest/built"
)

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is a running Vault.
type Server struct {
	URL  string // http://127.0.0.1:PORT
	Root string // the root token
}

// Start starts a server and stops it when the test ends.
func Start(t TB) *Server {
	t.Helper()
	s, err := start(t)
	if err != nil {
		t.Fatalf("vault: %v", err)
	}
	return s
}

func start(t TB) (*Server, error) {
	program, err := built.Program("vault")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	var log bytes.Buffer
	cmd := exec.Command(program, "-test.run", "^TestServe$", "-test.timeout", "0")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &log, &log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "VAULT_TEST_LISTEN=" + address, "VAULT_TEST_TOKEN_FILE=" + file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if root, err := os.ReadFile(file); err == nil {
			return &Server{URL: "http://" + address, Root: string(root)}, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("it ended while it started:\n%s", log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("it does not get ready")
}

// API calls Vault as root and gives the answer's whole body; path is what
// follows /v1/.
func (s *Server) API(t TB, method, path string, body any) map[string]any {
	t.Helper()
	in, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("%v", err)
	}
	req, err := http.NewRequest(method, s.URL+"/v1/"+path, bytes.NewReader(in))
	if err != nil {
		t.Fatalf("%v", err)
	}
	req.Header.Set("X-Vault-Token", s.Root)
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("vault: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("vault: %s %s: %s %s %v", method, path, resp.Status, b, err)
	}
	out := map[string]any{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("vault: %s %s: %v", method, path, err)
		}
	}
	return out
}
