// Package dnsserver starts real DNS servers (BIND, Knot, PowerDNS) on a free
// loopback port, each in a directory of its own, for tests, the demo and the
// benchmarks. A server that is not installed is an error that says how to
// install it.
package dnsserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Zone is a zone that the server starts with.
type Zone struct {
	Name string // "example.com", with or without the last dot
	Text string // the zone file; "" gives a SOA, one NS and its address
	View string // the BIND view it lives in; "" for none
	// Deny are names that the key may not update (BIND alone).
	Deny []string
}

// Key is a TSIG key.
type Key struct {
	Name      string
	Algorithm string
	Secret    string // base64
}

// String gives "name:algorithm:base64", the form of a tsig secret.
func (k Key) String() string { return k.Name + ":" + k.Algorithm + ":" + k.Secret }

// Server is a running server.
type Server struct {
	Kind string // bind, knot, powerdns
	Addr string // 127.0.0.1:port
	Port int
	Dir  string
	Key  Key            // may update and transfer every zone
	Keys map[string]Key // by view, where there are views
	// URL and APIKey reach the HTTP API (PowerDNS alone).
	URL    string
	APIKey string

	argv []string
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

const testSecret = "aC1kbnMtdGVzdC1zZWNyZXQtMzJieXRlcy0wMDAwMDA="

func testKey(name string) Key { return Key{Name: name, Algorithm: "hmac-sha256", Secret: testSecret} }

func start(t TB, run func(dir string, zones ...Zone) (*Server, error), zones []Zone) *Server {
	t.Helper()
	s, err := run(t.TempDir(), zones...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(s.Stop)
	return s
}

func find(program, pkg string) (string, error) {
	for _, p := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if path, err := exec.LookPath(p); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: apt-get install --no-install-recommends %s", program, pkg)
}

// freePort finds a port that is free for TCP and UDP on loopback.
func freePort() (int, error) {
	var last error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(port))
		_ = l.Close()
		if err == nil {
			return port, u.Close()
		}
		last = err
	}
	return 0, last
}

func newServer(kind, dir string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	return &Server{Kind: kind, Port: port, Addr: "127.0.0.1:" + strconv.Itoa(port), Dir: dir, Key: testKey("k1"),
		log: filepath.Join(dir, kind+".log")}, nil
}

// Start starts a stopped server again, on the same port and directory.
func (s *Server) Start() error {
	out, err := os.OpenFile(filepath.Join(s.Dir, s.Kind+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() { _ = cmd.Wait(); close(done) }()
	return nil
}

// Stop ends the server; it may be called twice.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

// Log gives what the server wrote to its log and its outputs.
func (s *Server) Log() string {
	a, _ := os.ReadFile(s.log)
	b, _ := os.ReadFile(filepath.Join(s.Dir, s.Kind+".out"))
	return string(a) + string(b)
}

// await polls until ready is true; a server that ends or never gets ready is
// an error with its log.
func (s *Server) await(ready func() error) error {
	end := time.Now().Add(30 * time.Second)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended at its start: %s", s.Kind, s.Log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			s.Stop()
			return fmt.Errorf("%s did not get ready: %w: %s", s.Kind, err, s.Log())
		}
	}
}

// answers asks for the SOA of a zone with the key; it is how readiness is seen.
func (s *Server) answers(z Zone) error {
	out, err := s.DigKey(s.keyFor(z.View), "+time=1", "+tries=1", "+short", z.fqdn(), "SOA")
	if err == nil && strings.TrimSpace(out) == "" {
		err = errors.New("no SOA for " + z.Name)
	}
	return err
}

func (s *Server) keyFor(view string) Key {
	if k, ok := s.Keys[view]; ok {
		return k
	}
	return s.Key
}

// Dig runs dig against the server, unsigned, and gives what it prints.
func (s *Server) Dig(args ...string) (string, error) { return s.DigKey(Key{}, args...) }

// DigKey runs dig signed with a key.
func (s *Server) DigKey(k Key, args ...string) (string, error) {
	dig, err := find("dig", "bind9-dnsutils")
	if err != nil {
		return "", err
	}
	all := []string{"@127.0.0.1", "-p", strconv.Itoa(s.Port)}
	if k.Name != "" {
		all = append(all, "-y", k.Algorithm+":"+k.Name+":"+k.Secret)
	}
	return output(dig, "", append(all, args...)...)
}

// NSUpdate feeds a script (without its server line) to nsupdate.
func (s *Server) NSUpdate(k Key, script string) error {
	nsupdate, err := find("nsupdate", "bind9-dnsutils")
	if err != nil {
		return err
	}
	_, err = output(nsupdate, fmt.Sprintf("server 127.0.0.1 %d\n%s", s.Port, script), "-v", "-y", k.Algorithm+":"+k.Name+":"+k.Secret)
	return err
}

func output(program, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s%s", filepath.Base(program), err, out, stderr.Bytes())
	}
	return string(out), err
}

func (z Zone) fqdn() string  { return strings.TrimSuffix(strings.ToLower(z.Name), ".") + "." }
func (z Zone) plain() string { return strings.TrimSuffix(z.fqdn(), ".") }

func (z Zone) text() string {
	if z.Text != "" {
		return z.Text
	}
	return "$ORIGIN " + z.fqdn() + `
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 604800 300
@ IN NS ns1
ns1 IN A 127.0.0.1
`
}
