package ssh_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

func TestHostKeys(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	addr, key := r.server.Addr, r.server.Key.PublicKey()
	other, _ := sshserver.NewKey(t)
	ca, _ := sshserver.NewKey(t)
	print := xssh.FingerprintSHA256(key)
	hashed := knownhosts.HashHostname(knownhosts.Normalize(addr)) + " " + string(xssh.MarshalAuthorizedKey(key))
	bare := "127.0.0.1 " + string(xssh.MarshalAuthorizedKey(key))
	for name, c := range map[string]struct {
		text string
		want []string // parts of the error; none for success
	}{
		"known":                       {"# a comment\n\n" + sshserver.KnownLine(addr, key), nil},
		"hashed":                      {hashed, nil},
		"without the port":            {bare, nil},
		"one of two":                  {sshserver.KnownLine(addr, other.PublicKey()) + sshserver.KnownLine(addr, key), nil},
		"pattern":                     {"[127.0.0.*]:* " + string(xssh.MarshalAuthorizedKey(key)), []string{"not known"}},
		"unknown":                     {sshserver.KnownLine("192.0.2.1:22", key), []string{"not known", print, "known_hosts", "web1", addr}},
		"empty":                       {"", []string{"not known", print}},
		"changed":                     {"\n" + sshserver.KnownLine(addr, other.PublicKey()), []string{"CHANGED", print, "known_hosts:2", xssh.FingerprintSHA256(other.PublicKey())}},
		"revoked":                     {sshserver.KnownLine(addr, key) + "@revoked * " + string(xssh.MarshalAuthorizedKey(key)), []string{"revoked", "known_hosts:2"}},
		"certificate expected":        {"@cert-authority * " + string(xssh.MarshalAuthorizedKey(ca.PublicKey())), []string{"no certificate", print}},
		"certificate expected, named": {"@cert-authority " + sshserver.KnownLine(addr, ca.PublicKey()), []string{"no certificate", "authority", "known_hosts:1"}},
		"authority's own key":         {"@cert-authority " + sshserver.KnownLine(addr, key), []string{"no certificate"}},
	} {
		known, err := ssh.LoadKnownHosts(sshserver.WriteFile(t, "known_hosts", c.text))
		if err != nil {
			t.Fatal(err)
		}
		to := *r.target
		to.KnownHosts = known
		pool := ssh.NewPool()
		conn, err := pool.Get(t.Context(), &to)
		if len(c.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if conn.HostKey() != print {
				t.Errorf("%s: the key is %s", name, conn.HostKey())
			}
		} else if err == nil || !driver.IsPermanent(err) {
			t.Errorf("%s: let in: %v", name, err)
		}
		for _, part := range c.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in: %v", name, part, err)
			}
		}
		_ = pool.Close()
	}
	if _, err := ssh.LoadKnownHosts(sshserver.WriteFile(t, "known_hosts", "a b c\n")); err == nil || !strings.Contains(err.Error(), "known_hosts:1") {
		t.Errorf("a broken line gives %v", err)
	}
}

func TestHostCertificate(t *testing.T) {
	ca, _ := sshserver.NewKey(t)
	wrongCA, _ := sshserver.NewKey(t)
	signed, _ := caSigned(t, ca, "127.0.0.1")
	r := newRig(t, sshserver.Config{HostKey: signed})
	line := "@cert-authority " + sshserver.KnownLine(r.server.Addr, ca.PublicKey())
	for name, c := range map[string]struct{ text, want string }{
		"signed":     {line, ""},
		"other ca":   {"@cert-authority " + sshserver.KnownLine(r.server.Addr, wrongCA.PublicKey()), "not accepted"},
		"revoked ca": {line + "@revoked * " + string(xssh.MarshalAuthorizedKey(ca.PublicKey())), "not accepted"},
	} {
		to := *r.target
		var err error
		if to.KnownHosts, err = ssh.LoadKnownHosts(sshserver.WriteFile(t, "known_hosts", c.text)); err != nil {
			t.Fatal(err)
		}
		pool := ssh.NewPool()
		_, err = pool.Get(t.Context(), &to)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		_ = pool.Close()
	}
	elsewhere, _ := caSigned(t, ca, "elsewhere.example")
	r = newRig(t, sshserver.Config{HostKey: elsewhere})
	r.target.KnownHosts, _ = ssh.LoadKnownHosts(sshserver.WriteFile(t, "known_hosts", "@cert-authority "+sshserver.KnownLine(r.server.Addr, ca.PublicKey())))
	if _, err := r.pool.Get(t.Context(), r.target); err == nil || !strings.Contains(err.Error(), "not accepted") {
		t.Errorf("a certificate for another host: %v", err)
	}
}

func TestAuth(t *testing.T) {
	const canary = "canary-login-77"
	r := newRig(t, sshserver.Config{Password: canary})
	_, otherPEM := sshserver.NewKey(t)
	key := r.target.Auth.Keys[0]
	wrong := ssh.Key{Private: secret.New(otherPEM)}
	agentAt := startAgent(t, key.Private.Reveal())
	for name, c := range map[string]struct {
		auth ssh.Auth
		want string
	}{
		"key":            {ssh.Auth{Keys: []ssh.Key{key}}, ""},
		"second key":     {ssh.Auth{Keys: []ssh.Key{wrong, key}}, ""},
		"password":       {ssh.Auth{Password: secret.New(canary)}, ""},
		"agent":          {ssh.Auth{Agent: agentAt}, ""},
		"wrong key":      {ssh.Auth{Keys: []ssh.Key{wrong}}, "not let in"},
		"wrong password": {ssh.Auth{Password: secret.New(canary + "x")}, "not let in"},
		"no agent":       {ssh.Auth{Agent: agentAt + ".none"}, "ssh-agent"},
		"nothing":        {ssh.Auth{}, "no key, agent or password"},
		"no key":         {ssh.Auth{Keys: []ssh.Key{{Private: secret.New(canary)}}}, "can't be read"},
	} {
		to := *r.target
		to.Auth = c.auth
		pool := ssh.NewPool()
		_, err := pool.Get(t.Context(), &to)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the secret shows in %v", name, err)
		}
		_ = pool.Close()
	}
}

func startAgent(t *testing.T, pem string) string {
	t.Helper()
	private, err := xssh.ParseRawPrivateKey([]byte(pem))
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir() + "/agent"
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }()
		}
	}()
	return at
}

func TestJumpHosts(t *testing.T) {
	first, second, last := newRig(t, sshserver.Config{}), newRig(t, sshserver.Config{}), newRig(t, sshserver.Config{})
	last.target.Jump, second.target.Jump = second.target, first.target
	if last.mustRun(t, "echo there") != "there" {
		t.Error("no way through two hosts")
	}
	if first.server.Conns.Load() != 1 || second.server.Conns.Load() != 1 {
		t.Error("each hop has one connection")
	}
	// The hop in the middle is in use as long as something runs through it.
	if last.mustRun(t, "echo again") != "again" || second.server.Conns.Load() != 1 {
		t.Error("the second command took a new way")
	}
	other, _ := sshserver.NewKey(t)
	second.target.KnownHosts, _ = ssh.LoadKnownHosts(sshserver.WriteFile(t, "k", sshserver.KnownLine(second.server.Addr, other.PublicKey())))
	pool := ssh.NewPool()
	defer pool.Close()
	_, err := pool.Get(t.Context(), last.target)
	if err == nil || !strings.Contains(err.Error(), "jump host") || !strings.Contains(err.Error(), "CHANGED") {
		t.Errorf("a jump host with a wrong key: %v", err)
	}
}

// TestSilentHost: a host that accepts connections and says nothing.
func TestSilentHost(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := *r.target
	to.Addr, to.ConnectTimeout = l.Addr().String(), 50*time.Millisecond
	if _, err := r.pool.Get(t.Context(), &to); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("%v", err)
	}
	to.ConnectTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.pool.Get(ctx, &to); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	_ = l.Close()
	nobody := *r.target
	nobody.Addr = l.Addr().String()
	pool := ssh.NewPool()
	if _, err := pool.Get(t.Context(), &nobody); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	_ = pool.Close() // also the attempt that would take an hour ends
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	r.pool.SetIdle(20 * time.Millisecond)
	r.mustRun(t, "true")
	until(t, "the end of the idle connection", func() bool { return r.server.Open() == 0 })
	r.mustRun(t, "true")
}

func TestPoolClosed(t *testing.T) {
	r := newRig(t, sshserver.Config{})
	r.mustRun(t, "true")
	_ = r.pool.Close()
	until(t, "the end of the connection", func() bool { return r.server.Open() == 0 })
	if _, err := r.run(t, ssh.Command{Script: "true"}); !errors.Is(err, ssh.ErrClosed) {
		t.Errorf("%v", err)
	}
}
