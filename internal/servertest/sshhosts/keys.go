package sshhosts

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// writeKey makes an ed25519 key pair at path and path.pub, and gives the line of the public key.
func writeKey(path string) ([]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	line := ssh.MarshalAuthorizedKey(key)
	if err := os.WriteFile(path+".pub", line, 0o644); err != nil {
		return nil, err
	}
	return line, os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// HostKey is the host's public key, as "type base64".
func (h *Host) HostKey() (string, error) {
	b, err := os.ReadFile(filepath.Join(h.dir, "keys", "hostkey.pub"))
	return strings.TrimSpace(string(b)), err
}

func (l *Lab) writeKnownHosts() error {
	var b strings.Builder
	for _, h := range l.Hosts {
		key, err := h.HostKey()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s,%s %s\n", h.Addr, h.Name, key)
	}
	return os.WriteFile(l.KnownHosts, []byte(b.String()), 0o644)
}
