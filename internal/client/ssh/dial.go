package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"trueup.dev/trueup/internal/driver"
)

// dial connects to one host, over the connection to its jump host where it has
// one.
func dial(ctx context.Context, t *Target, over *Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout())
	defer cancel()
	raw, err := reach(ctx, t, over)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", t, driver.ErrUnreachable, err)
	}
	// A handshake has no deadline of its own, so the end of the context closes
	// the connection under it.
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, err := handshake(ctx, t, raw)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		return nil, explain(ctx, t, err)
	}
	return conn, nil
}

func reach(ctx context.Context, t *Target, over *Conn) (net.Conn, error) {
	if over == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", t.Addr)
	}
	c, err := over.client.DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, fmt.Errorf("through %s: %w", over.target, err)
	}
	return c, nil
}

func handshake(ctx context.Context, t *Target, raw net.Conn) (*Conn, error) {
	methods, keys, release, err := authMethods(ctx, t)
	if err != nil {
		return nil, err
	}
	defer release()
	var key ssh.PublicKey
	check, algos := t.KnownHosts.verifier(t, func(k ssh.PublicKey) { key = k })
	cfg := &ssh.ClientConfig{User: t.User, Auth: methods, HostKeyCallback: check, HostKeyAlgorithms: algos, ClientVersion: "SSH-2.0-trueup"}
	c, chans, reqs, err := ssh.NewClientConn(raw, t.Addr, cfg)
	if err != nil {
		return nil, err
	}
	conn := newConn(t, ssh.NewClient(c, chans, reqs), key)
	conn.keys = keys
	if rtt := roundTrip(raw); rtt > 0 && rtt < nearby {
		conn.near = true
	}
	return conn, nil
}

// explain turns what a handshake gave into words, and into what to do next.
func explain(ctx context.Context, t *Target, err error) error {
	var key *HostKeyError
	switch {
	case errors.As(err, &key):
		return driver.Permanent(key)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: no SSH handshake within %s", t, driver.ErrUnreachable, t.timeout())
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", t, ctx.Err())
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%s: %s was not let in: %w", t, t.User, err)
	}
	return fmt.Errorf("%s: %w: %w", t, driver.ErrUnreachable, err)
}

// authMethods gives the ways to log in, and the keys where there is nothing
// beside them; release lets go of the agent.
func authMethods(ctx context.Context, t *Target) (methods []ssh.AuthMethod, keys []ssh.PublicKey, release func(), err error) {
	var signers []ssh.Signer
	for i, k := range t.Auth.Keys {
		s, err := k.signer()
		if err != nil {
			return nil, nil, nil, driver.Permanent(fmt.Errorf("%s: key %d: %w", t, i+1, err))
		}
		signers = append(signers, s)
	}
	release = func() {}
	if t.Auth.Agent != "" {
		c, err := new(net.Dialer).DialContext(ctx, "unix", t.Auth.Agent)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("ssh-agent: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		release = func() { stop(); _ = c.Close() }
		more, err := agent.NewClient(c).Signers()
		if err != nil {
			release()
			return nil, nil, nil, fmt.Errorf("ssh-agent: %w", err)
		}
		signers = append(signers, more...)
	}
	if len(signers) > 0 {
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if p := t.Auth.Password; !p.Empty() {
		methods = append(methods, ssh.PasswordCallback(func() (string, error) { return p.Reveal(), nil }),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range questions {
					if !echos[i] {
						answers[i] = p.Reveal()
					}
				}
				return answers, nil
			}))
	}
	if len(methods) == 0 {
		release()
		return nil, nil, nil, driver.Permanent(fmt.Errorf("%s: no key, agent or password to log in with", t))
	}
	return methods, plainKeys(t, signers), release, nil
}

// plainKeys gives the keys that a host must know for us to get in.
func plainKeys(t *Target, signers []ssh.Signer) []ssh.PublicKey {
	var keys []ssh.PublicKey
	for _, s := range signers {
		if _, cert := s.PublicKey().(*ssh.Certificate); cert {
			return nil
		}
		keys = append(keys, s.PublicKey())
	}
	if !t.Auth.Password.Empty() {
		return nil
	}
	return keys
}

// signer reads the key. What stands in the key is not part of its errors.
func (k Key) signer() (ssh.Signer, error) {
	pem := []byte(k.Private.Reveal())
	if len(pem) > 0 && pem[len(pem)-1] != '\n' {
		pem = append(pem, '\n') // a resolver may have cut it off
	}
	var s ssh.Signer
	var err error
	if k.Passphrase.Empty() {
		s, err = ssh.ParsePrivateKey(pem)
	} else {
		s, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(k.Passphrase.Reveal()))
	}
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, errors.New("the private key needs a passphrase")
	case err != nil:
		return nil, errors.New("the private key can't be read: it must be in PEM or OpenSSH form, and the passphrase must fit")
	case k.Certificate == "":
		return s, nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Certificate))
	if err != nil {
		return nil, fmt.Errorf("the certificate can't be read: %w", err)
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("the certificate is a plain public key")
	}
	return ssh.NewCertSigner(cert, s)
}

// CheckKey tells whether a private key can be read, without connecting.
func CheckKey(k Key) error {
	_, err := k.signer()
	return err
}
