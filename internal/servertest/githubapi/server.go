// Package githubapi serves GitHub's own API description on a free loopback
// port: every call is checked against it (path, method, parameters, body; see
// Violations) and answered with an example, or with an error that says what is wrong. It keeps
// no state. It also has the example deliveries that GitHub publishes. Both
// come from the npm registry, pinned, into the cache directory.
package githubapi

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/servertest/built"
)

// Server is a running mock of GitHub's API.
type Server struct {
	URL string

	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// Start starts the server with its log in a directory. The caller stops it.
func Start(dir string) (*Server, error) {
	cache, err := install()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), log: filepath.Join(dir, "prism.log"), done: make(chan struct{})}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	modules := filepath.Join(cache, "node_modules")
	s.cmd = exec.Command("node", filepath.Join(modules, "@stoplight/prism-cli/dist/index.js"), "mock", "-h", "127.0.0.1", "-p", fmt.Sprint(port),
		filepath.Join(modules, "@octokit/openapi/generated/api.github.com.json"))
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	return s, s.await()
}

// await waits until the server answers; reading the description takes it a
// while.
func (s *Server) await() error {
	client := http.Client{Timeout: 10 * time.Second}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
		if resp, err := client.Get(s.URL + "/zen"); err == nil {
			_ = resp.Body.Close()
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("the mock of GitHub's API ended while it started:\n%s", s.Log())
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.Stop()
	return fmt.Errorf("the mock of GitHub's API does not get ready:\n%s", s.Log())
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Log gives what the server wrote.
func (s *Server) Log() string {
	b, _ := os.ReadFile(s.log)
	return string(b)
}

// Violations gives what was wrong with the request of an answer. GitHub's
// examples break its own description here and there; that is left out.
func Violations(h http.Header) []string {
	text := h.Get("Sl-Violations")
	if text == "" {
		return nil
	}
	var list []struct {
		Location []string `json:"location"`
		Code     string   `json:"code"`
		Message  string   `json:"message"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return []string{text}
	}
	var out []string
	for _, v := range list {
		if len(v.Location) == 0 || v.Location[0] != "response" {
			out = append(out, fmt.Sprintf("%s: %s %s", strings.Join(v.Location, "."), v.Code, v.Message))
		}
	}
	return out
}

// Delivery is an example of a webhook's delivery.
type Delivery struct {
	Event string // X-GitHub-Event
	N     int    // which of the event's examples it is
	Body  json.RawMessage
}

// Deliveries gives all examples that GitHub publishes.
func Deliveries() ([]Delivery, error) {
	cache, err := install()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(cache, "node_modules/@octokit/webhooks-examples/api.github.com/index.json"))
	if err != nil {
		return nil, err
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(b, &events); err != nil {
		return nil, err
	}
	var out []Delivery
	for _, e := range events {
		for i, body := range e.Examples {
			out = append(out, Delivery{Event: e.Name, N: i, Body: body})
		}
	}
	return out, nil
}

// install runs scripts/github-api.sh, which is quick when all is there.
func install() (string, error) {
	lines, err := built.Script("github-api.sh")
	if err != nil {
		return "", err
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("scripts/github-api.sh printed %q", lines)
	}
	return lines[0], nil
}
