package git

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"trueup.dev/trueup/internal/source"
)

// connectSSH serves the key from an agent on a private socket, so that it
// never touches the disk, and lets ssh trust the given host keys alone.
func (m *Mirror) connectSSH(l *link, cred source.Credentials) error {
	known := filepath.Join(m.dir, "known_hosts")
	if err := writeFile(known, []byte(cred.KnownHosts+"\n")); err != nil {
		return err
	}
	args := []string{"ssh", "-F", "/dev/null", "-a", "-x", "-T"}
	options := []string{"BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=" + quoteOption(known), "GlobalKnownHostsFile=/dev/null",
		"UpdateHostKeys=no", "PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "PreferredAuthentications=publickey",
		"IdentityFile=none", "ControlMaster=no", "ControlPath=none", "PermitLocalCommand=no", "ProxyCommand=none", "VerifyHostKeyDNS=no",
		"ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=3", "LogLevel=ERROR"}
	if cred.SSHKey.Empty() {
		options = append(options, "IdentityAgent=none")
	} else {
		socket, stop, err := serveKey(cred)
		if err != nil {
			return err
		}
		l.close = stop
		options = append(options, "IdentityAgent="+quoteOption(socket))
	}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	for i := range args {
		args[i] = "'" + strings.ReplaceAll(args[i], "'", `'\''`) + "'"
	}
	l.env = append(l.env, "GIT_SSH_COMMAND="+strings.Join(args, " "), "GIT_SSH_VARIANT=ssh")
	return nil
}

// quoteOption quotes a path for ssh's own option parser, which splits at
// spaces and expands percent signs.
func quoteOption(p string) string { return `"` + strings.ReplaceAll(p, "%", "%%") + `"` }

// parseKey reads the private key. Errors say what is wrong and hold no part of
// the key.
func parseKey(cred source.Credentials) (any, error) {
	pem := []byte(strings.TrimSpace(cred.SSHKey.Reveal()) + "\n")
	var key any
	var err error
	if cred.SSHPassphrase.Empty() {
		key, err = ssh.ParseRawPrivateKey(pem)
	} else {
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(pem, []byte(cred.SSHPassphrase.Reveal()))
	}
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%w: the ssh key is encrypted; give its passphrase too", source.ErrAuth)
	case err != nil:
		return nil, fmt.Errorf("%w: the ssh key can't be read: expected a private key in PEM form", source.ErrAuth)
	}
	return key, nil
}

// serveKey starts an agent that holds one key, reachable by this user alone.
func serveKey(cred source.Credentials) (socket string, stop func(), err error) {
	key, err := parseKey(cred)
	if err != nil {
		return "", nil, err
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return "", nil, fmt.Errorf("%w: the ssh key can't be used: %w", source.ErrAuth, err)
	}
	dir, err := os.MkdirTemp("", "trueup-ssh-")
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	a := &keyAgent{listener: l, ring: ring, conns: map[net.Conn]struct{}{}}
	go a.serve()
	return socket, func() { a.stop(); os.RemoveAll(dir) }, nil
}

type keyAgent struct {
	listener net.Listener
	ring     agent.Agent
	mu       sync.Mutex
	conns    map[net.Conn]struct{} // nil when stopped
}

func (a *keyAgent) serve() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		if a.conns == nil {
			a.mu.Unlock()
			c.Close()
			return
		}
		a.conns[c] = struct{}{}
		a.mu.Unlock()
		go func() {
			_ = agent.ServeAgent(a.ring, c)
			a.mu.Lock()
			delete(a.conns, c)
			a.mu.Unlock()
			c.Close()
		}()
	}
}

func (a *keyAgent) stop() {
	a.listener.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		c.Close()
	}
	a.conns = nil
	_ = a.ring.RemoveAll()
}
