package ssh

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// KnownHosts is the keys that hosts may show: the content of one or more
// known_hosts files, with plain and hashed names, @cert-authority and
// @revoked lines.
type KnownHosts struct {
	files []string
	check ssh.HostKeyCallback
	// authority has the places of @cert-authority lines.
	authority map[place]bool
}

type place struct {
	file string
	line int
}

// LoadKnownHosts reads known_hosts files. A line that can't be read is an
// error that names it.
func LoadKnownHosts(files ...string) (*KnownHosts, error) {
	if len(files) == 0 {
		return nil, errors.New("no known_hosts file is given: host keys are always checked")
	}
	k := &KnownHosts{files: files, authority: map[place]bool{}}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("known_hosts: %w", err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for n := 1; lines.Scan(); n++ {
			if strings.HasPrefix(strings.TrimSpace(lines.Text()), "@cert-authority") {
				k.authority[place{name, n}] = true
			}
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %s", strings.TrimPrefix(err.Error(), "knownhosts: "))
	}
	k.check = check
	return k, nil
}

// HostKeyError says that a host did not show a key it may show.
type HostKeyError struct {
	Host, Addr string
	// Algorithm and Fingerprint (SHA256:…) are of the key that it showed.
	Algorithm, Fingerprint string
	// Known lists what known_hosts says about the host; empty for an unknown host.
	Known []KnownKey
	// Revoked tells that the key is marked @revoked.
	Revoked bool
	// Files are the known_hosts files that were looked at.
	Files []string
	// Cause is why a certificate was not accepted.
	Cause error
}

// KnownKey is one line of a known_hosts file.
type KnownKey struct {
	File        string
	Line        int
	Algorithm   string
	Fingerprint string
	Authority   bool
}

// Error says what the host showed, what was expected and where that stands.
func (e *HostKeyError) Error() string {
	var b strings.Builder
	name := e.Addr
	if e.Host != "" {
		name = fmt.Sprintf("%s (%s)", e.Host, e.Addr)
	}
	shown := e.Algorithm + " " + e.Fingerprint
	switch {
	case e.Revoked:
		fmt.Fprintf(&b, "the key of %s, %s, is revoked at %s", name, shown, listKnown(e.Known))
	case e.Cause != nil:
		fmt.Fprintf(&b, "the host certificate of %s, %s, is not accepted: %v", name, shown, e.Cause)
	case len(e.Known) == 0:
		fmt.Fprintf(&b, "the key of %s is not known: it shows %s, and no line of %s names it; "+
			"compare with `ssh-keygen -lf` on the host's console, then add the line", name, shown, strings.Join(e.Files, ", "))
	case !slices.ContainsFunc(e.Known, func(k KnownKey) bool { return !k.Authority }):
		fmt.Fprintf(&b, "%s shows no certificate but the plain key %s; expected is one signed by %s", name, shown, listKnown(e.Known))
	default:
		fmt.Fprintf(&b, "the key of %s has CHANGED: it shows %s, but known is %s; somebody may be in between, "+
			"or the host was installed anew: then replace the line", name, shown, listKnown(e.Known))
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *HostKeyError) Unwrap() error { return e.Cause }

func listKnown(known []KnownKey) string {
	parts := make([]string, len(known))
	for i, k := range known {
		what := k.Algorithm
		if k.Authority {
			what = "authority " + what
		}
		parts[i] = fmt.Sprintf("%s:%d (%s %s)", k.File, k.Line, what, k.Fingerprint)
	}
	return strings.Join(parts, ", ")
}

// lookup gives the lines about an address, without judging a key.
func (k *KnownHosts) lookup(addr string) []KnownKey {
	var unknown *knownhosts.KeyError
	if !errors.As(k.check(addr, noAddr{addr}, noKey{}), &unknown) {
		return nil
	}
	out := make([]KnownKey, 0, len(unknown.Want))
	for _, w := range unknown.Want {
		out = append(out, k.known(w))
	}
	return out
}

func (k *KnownHosts) known(w knownhosts.KnownKey) KnownKey {
	return KnownKey{File: w.Filename, Line: w.Line, Algorithm: w.Key.Type(), Fingerprint: ssh.FingerprintSHA256(w.Key),
		Authority: k.authority[place{w.Filename, w.Line}]}
}

// name gives the address that known_hosts has lines for: with the port or,
// as OpenSSH does, without it.
func (k *KnownHosts) name(addr string) (string, []KnownKey) {
	known := k.lookup(addr)
	if len(known) > 0 {
		return addr, known
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "22" {
		return addr, nil
	}
	bare := net.JoinHostPort(host, "22")
	if known = k.lookup(bare); len(known) > 0 {
		return bare, known
	}
	return addr, nil
}

// algorithms gives what to ask a host for: only what its lines can check.
// Empty means anything, so that the error can name what an unknown host shows.
func algorithms(known []KnownKey) []string {
	var plain, certs []string
	for _, k := range known {
		if k.Authority {
			certs = []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
				ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
			continue
		}
		algos := []string{k.Algorithm}
		if k.Algorithm == ssh.KeyAlgoRSA {
			algos = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, a := range algos {
			if !slices.Contains(plain, a) {
				plain = append(plain, a)
			}
		}
	}
	if len(certs) > 0 && len(plain) == 0 {
		// A host that shows a plain key where a certificate is expected is
		// told apart from one that can't be talked to.
		plain = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return append(certs, plain...)
}

// verifier gives the callback that checks a target's key, and the algorithms
// to ask for. The fingerprint of an accepted key goes to seen.
func (k *KnownHosts) verifier(t *Target, seen func(ssh.PublicKey)) (ssh.HostKeyCallback, []string) {
	name, known := k.name(t.Addr)
	callback := func(_ string, remote net.Addr, key ssh.PublicKey) error {
		fail := &HostKeyError{Host: t.Name, Addr: t.Addr, Algorithm: key.Type(), Fingerprint: ssh.FingerprintSHA256(key), Files: k.files}
		if cert, ok := key.(*ssh.Certificate); ok {
			fail.Fingerprint = ssh.FingerprintSHA256(cert.Key)
		} else if slices.ContainsFunc(known, func(l KnownKey) bool { return l.Authority }) &&
			!slices.ContainsFunc(known, func(l KnownKey) bool { return !l.Authority && l.Fingerprint == fail.Fingerprint }) {
			fail.Known = known
			return fail
		}
		err := k.check(name, remote, key)
		var changed *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		switch {
		case err == nil:
			seen(key)
			return nil
		case errors.As(err, &revoked):
			fail.Revoked, fail.Known = true, []KnownKey{k.known(revoked.Revoked)}
		case errors.As(err, &changed):
			fail.Known = known
		default:
			fail.Cause = err
		}
		return fail
	}
	return callback, algorithms(known)
}

// noKey is a key that nobody has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// noAddr stands for the remote address where there is no connection.
type noAddr struct{ s string }

func (noAddr) Network() string  { return "tcp" }
func (a noAddr) String() string { return a.s }
