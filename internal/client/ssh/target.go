// Package ssh keeps connections to hosts. There is one connection to a host,
// shared by all who need it and kept between runs; many sessions run on it
// side by side. Host keys are always checked, every wait has an end, and no
// secret is ever part of a command line.
package ssh

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"time"

	"trueup.dev/trueup/internal/secret"
)

// Target is one host and the way to it.
type Target struct {
	// Name is what the host is called in messages.
	Name string
	// Addr is host:port. The host part is looked up in known_hosts.
	Addr string
	User string
	Auth Auth
	// KnownHosts says which keys a host may show.
	KnownHosts *KnownHosts
	// Jump is the host that the connection goes through; it may have a jump
	// host of its own.
	Jump *Target
	// ConnectTimeout bounds the connection and the handshake of one hop; the
	// default is 15 s.
	ConnectTimeout time.Duration
}

// Auth is how to log in. What is empty is not tried.
type Auth struct {
	Keys []Key
	// Agent is the socket of an ssh-agent.
	Agent string
	// Password answers password and keyboard-interactive questions.
	Password secret.Value
}

// Key is a private key in PEM form.
type Key struct {
	Private    secret.Value
	Passphrase secret.Value
	// Certificate is the text of an OpenSSH user certificate for the key.
	Certificate string
}

const (
	connectTimeout = 15 * time.Second
	maxHops        = 8
)

func (t *Target) timeout() time.Duration { return cmp.Or(t.ConnectTimeout, connectTimeout) }

// key tells one connection from another.
func (t *Target) key() string {
	hops := []string{}
	for at := t; at != nil && len(hops) <= maxHops; at = at.Jump {
		hops = append(hops, at.User+"@"+at.Addr)
	}
	return strings.Join(hops, " ")
}

// String names the host for messages.
func (t *Target) String() string {
	if t.Name == "" || t.Name == t.Addr || t.Name+":22" == t.Addr {
		return t.Addr
	}
	return fmt.Sprintf("%s (%s)", t.Name, t.Addr)
}

func (t *Target) check() error {
	hops := 0
	for at := t; at != nil; at = at.Jump {
		if hops++; hops > maxHops {
			return fmt.Errorf("%s: more than %d jump hosts", t, maxHops-1)
		}
		if _, _, err := net.SplitHostPort(at.Addr); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if at.KnownHosts == nil {
			return fmt.Errorf("%s: no known_hosts: host keys are always checked", at)
		}
		if at.User == "" {
			return fmt.Errorf("%s: no user", at)
		}
	}
	return nil
}
