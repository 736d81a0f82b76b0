package ssh_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sshserver"
)

const enough = 60 * time.Second

// rig is a server, a key that it lets in and the target that leads to it.
type rig struct {
	server *sshserver.Server
	target *ssh.Target
	pool   *ssh.Pool
}

func newRig(t *testing.T, cfg sshserver.Config) *rig {
	t.Helper()
	key, pem := sshserver.NewKey(t)
	cfg.Keys = append(cfg.Keys, key.PublicKey())
	s := sshserver.Start(t, cfg)
	r := &rig{server: s, pool: ssh.NewPool(), target: target(t, s.Addr, s.KnownHosts(t), pem)}
	t.Cleanup(func() { _ = r.pool.Close() })
	return r
}

func target(t *testing.T, addr, knownHosts, pem string) *ssh.Target {
	t.Helper()
	known, err := ssh.LoadKnownHosts(knownHosts)
	if err != nil {
		t.Fatal(err)
	}
	return &ssh.Target{Name: "web1", Addr: addr, User: "root", KnownHosts: known, Auth: ssh.Auth{Keys: []ssh.Key{{Private: secret.New(pem)}}}}
}

func (r *rig) run(t *testing.T, cmd ssh.Command) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout = &out
	err := r.pool.Run(ctx, r.target, cmd)
	return out.String(), err
}

func (r *rig) mustRun(t *testing.T, script string) string {
	t.Helper()
	out, err := r.run(t, ssh.Command{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func reader(s string) io.Reader { return strings.NewReader(s) }

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(enough); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

func caSigned(t *testing.T, ca xssh.Signer, host string) (xssh.Signer, *xssh.Certificate) {
	t.Helper()
	key, _ := sshserver.NewKey(t)
	cert := &xssh.Certificate{Key: key.PublicKey(), CertType: xssh.HostCert, ValidPrincipals: []string{host},
		ValidBefore: xssh.CertTimeInfinity}
	if err := cert.SignCert(rng{}, ca); err != nil {
		t.Fatal(err)
	}
	s, err := xssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s, cert
}
