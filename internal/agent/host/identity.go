// Package host is the agent: a process on a host that calls out to the server,
// plans and applies there what the server asks for, and goes on correcting
// drift by what was last approved and applied while the server is away.
package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/secret"
)

// Identity is who the agent is, and whom it listens to. The key never leaves
// the host.
type Identity struct {
	Server string `json:"server"`
	Host   string `json:"host"`
	// CA is the PEM of who signs the server's certificate; "" is the system's.
	CA   string `json:"ca,omitempty"`
	Seed []byte `json:"seed"`
	// Next is a key that is being registered in place of Seed.
	Next      []byte    `json:"next,omitempty"`
	ServerKey []byte    `json:"serverKey"`
	Expires   time.Time `json:"expires"`
	Enrolled  time.Time `json:"enrolled"`
}

const identityFile = "identity.json"

func (i *Identity) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(i.Seed) }

// LoadIdentity reads the identity of a state directory.
func LoadIdentity(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: this agent is not enrolled; get a token with `trueup agent enrol-token` on the server, then `trueup agent enrol` here: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 %s", path, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(id.Seed) != ed25519.SeedSize || len(id.ServerKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s is damaged: enrol this host anew", path)
	}
	return &id, nil
}

func (i *Identity) save(dir string) error { return writeJSON(filepath.Join(dir, identityFile), i) }

// EnrolOptions is what an enrolment needs.
type EnrolOptions struct {
	Dir     string // state directory, made when missing
	Server  string // https://…
	Host    string
	Token   secret.Value
	CA      []byte // PEM; nil is the system's
	Version string
}

// Enrol makes a key and has the server take this host in.
func Enrol(ctx context.Context, o EnrolOptions) (*Identity, error) {
	if err := checkServer(o.Server); err != nil {
		return nil, err
	}
	if o.CA != nil && !x509.NewCertPool().AppendCertsFromPEM(o.CA) {
		return nil, errors.New("the CA file has no certificate in PEM")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	id := &Identity{Server: o.Server, Host: o.Host, CA: string(o.CA), Seed: seed}
	c, err := newClient(id, o.Version)
	if err != nil {
		return nil, err
	}
	key := id.key()
	token := o.Token.Reveal()
	var got wire.Enrolled
	err = c.post(ctx, wire.PathEnrol, wire.Enrol{Host: o.Host, Token: token, PublicKey: key.Public().(ed25519.PublicKey),
		Proof: wire.Prove(key, o.Host, wire.TokenHash(token)), Version: o.Version}, &got)
	if err != nil {
		return nil, err
	}
	if got.Host != o.Host || len(got.ServerKey) != ed25519.PublicKeySize {
		return nil, errors.New("the server's answer makes no sense; nothing was kept")
	}
	id.ServerKey, id.Expires, id.Enrolled = got.ServerKey, got.Expires, got.Now
	if old, err := LoadIdentity(o.Dir); err == nil && string(old.ServerKey) != string(id.ServerKey) {
		// What another server had applied is nothing to keep up.
		if err := os.RemoveAll(filepath.Join(o.Dir, keptDir)); err != nil {
			return nil, err
		}
	}
	return id, id.save(o.Dir)
}

func checkServer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not the address of a server: write https://HOST:PORT", text)
	}
	return nil
}

// writeJSON writes a file of mode 0600, whole or not at all, and durably.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(path, b)
}

func writeFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
