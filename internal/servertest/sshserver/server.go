// Package sshserver starts SSH servers for tests: one inside the test process,
// on golang.org/x/crypto/ssh, that runs real commands and can be made to
// misbehave, and OpenSSH's sshd.
package sshserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Config says what the in-process server lets in and how it behaves.
type Config struct {
	// HostKey is what it shows; a new key where it is nil.
	HostKey ssh.Signer
	// Keys may log in; none means that no key may.
	Keys []ssh.PublicKey
	// Password may log in, "" means that no password may.
	Password string
	// MaxSessions is how many sessions one connection may have; 0 is ten.
	MaxSessions int32
	// Env is added to the environment of what it runs.
	Env []string
	// Wrap is a program with arguments that every command line is handed to as
	// the last argument; /bin/sh -c by default.
	Wrap []string
	// CutOutput, when it is above 0, ends a connection after that many bytes
	// of a command's output.
	CutOutput *atomic.Int64
}

// Server is an SSH server inside the test process.
type Server struct {
	Addr string
	Key  ssh.Signer // host key

	cfg      Config
	listener net.Listener
	// Sessions and Conns count what was opened so far.
	Sessions, Conns atomic.Int64

	mu    sync.Mutex
	open  map[net.Conn]bool
	wg    sync.WaitGroup
	ended bool
}

// Start starts a server on a free port of the loopback interface.
func Start(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.HostKey == nil {
		cfg.HostKey, _ = NewKey(tb)
	}
	if len(cfg.Wrap) == 0 {
		cfg.Wrap = []string{"/bin/sh", "-c"}
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 10
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), Key: cfg.HostKey, cfg: cfg, listener: l, open: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	tb.Cleanup(s.Stop)
	return s
}

// Stop ends the server, its connections and what they run.
func (s *Server) Stop() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	_ = s.listener.Close()
	s.Disconnect()
	s.wg.Wait()
}

// Disconnect ends all connections; the server goes on.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

// Open counts the connections that are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// KnownHosts writes a known_hosts file with the server's key.
func (s *Server) KnownHosts(tb testing.TB) string {
	tb.Helper()
	return WriteFile(tb, "known_hosts", KnownLine(s.Addr, s.Key.PublicKey()))
}

// KnownLine is a line of known_hosts.
func KnownLine(addr string, key ssh.PublicKey) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key))
}

// WriteFile writes a file into a directory of the test and gives its path.
func WriteFile(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// NewKey makes an ed25519 key, and its PEM text.
func NewKey(tb testing.TB) (ssh.Signer, string) {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return signer, string(pem.EncodeToMemory(block))
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ended {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.open[c] = true
		s.mu.Unlock()
		s.Conns.Add(1)
		s.wg.Go(func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serverConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{MaxAuthTries: 20}
	if len(s.cfg.Keys) > 0 {
		cfg.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if slices.ContainsFunc(s.cfg.Keys, func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(key.Marshal()) }) {
				return nil, nil
			}
			return nil, fmt.Errorf("key refused")
		}
	}
	if s.cfg.Password != "" {
		cfg.PasswordCallback = func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if string(p) == s.cfg.Password {
				return nil, nil
			}
			return nil, fmt.Errorf("password refused")
		}
	}
	cfg.AddHostKey(s.cfg.HostKey)
	return cfg
}

func (s *Server) serve(c net.Conn) {
	conn, chans, reqs, err := ssh.NewServerConn(c, s.serverConfig())
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(reqs)
	var sessions atomic.Int32
	var wg sync.WaitGroup
	for ch := range chans {
		switch ch.ChannelType() {
		case "session":
			if sessions.Add(1) > s.cfg.MaxSessions {
				sessions.Add(-1)
				_ = ch.Reject(ssh.ConnectionFailed, "open failed")
				continue
			}
			s.Sessions.Add(1)
			wg.Go(func() {
				defer sessions.Add(-1)
				s.session(c, ch)
			})
		case "direct-tcpip":
			wg.Go(func() { forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "no")
		}
	}
	wg.Wait()
}
