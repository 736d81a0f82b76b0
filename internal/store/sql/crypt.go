package sql

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const keySize = 32

// ErrNoKey: the key that something was sealed with is not among the given.
var ErrNoKey = errors.New("no such encryption key")

// keyring seals with its newest key and opens with any.
type keyring struct {
	current string
	ciphers map[string]cipher.AEAD
}

// keyID names a key without giving it away.
func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("trueup key id\x00"), key...))
	return hex.EncodeToString(sum[:6])
}

func openKeyring(o Options) (*keyring, error) {
	all := append([][]byte{o.EncryptionKey}, o.OldKeys...)
	if len(o.EncryptionKey) == 0 {
		if o.Dir == "" {
			return nil, errors.New("PostgreSQL needs an encryption key, the same for every replica (or a data directory for a key file)")
		}
		fromFile, err := keyFile(filepath.Join(o.Dir, "encryption.keys"))
		if err != nil {
			return nil, err
		}
		all = append(fromFile, o.OldKeys...)
	}
	k := &keyring{ciphers: map[string]cipher.AEAD{}}
	for _, key := range all {
		if len(key) != keySize {
			return nil, fmt.Errorf("an encryption key has %d bytes, it needs %d", len(key), keySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if k.ciphers[keyID(key)], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		if k.current == "" {
			k.current = keyID(key)
		}
	}
	return k, nil
}

// keyFile reads the keys of a file, one hex key a line, the current one
// first; it makes the file with a new key when there is none.
func keyFile(path string) ([][]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if body, err = newKeyFile(path); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, err := hex.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("%s: a line is not a hex key", path)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key", path)
	}
	return keys, nil
}

func newKeyFile(path string) ([]byte, error) {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	body := []byte("# Opens what the store keeps encrypted. Keep a copy beside the backups.\n" + hex.EncodeToString(key) + "\n")
	temp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(body)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return nil, err
	}
	// Link, not rename: whoever comes second takes the first one's file.
	if err := os.Link(temp.Name(), path); errors.Is(err, os.ErrExist) {
		return os.ReadFile(path)
	} else if err != nil {
		return nil, err
	}
	return body, nil
}

// seal encrypts; label binds the text to its place.
func (k *keyring) seal(label string, plain []byte) (id string, sealed []byte, err error) {
	nonce := make([]byte, k.ciphers[k.current].NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, err
	}
	return k.current, k.ciphers[k.current].Seal(nonce, nonce, plain, []byte(label)), nil
}

func (k *keyring) open(id, label string, sealed []byte) ([]byte, error) {
	c, ok := k.ciphers[id]
	if !ok {
		return nil, fmt.Errorf("%w: %s was sealed with key %s", ErrNoKey, label, id)
	}
	if len(sealed) < c.NonceSize() {
		return nil, fmt.Errorf("%s is cut short", label)
	}
	plain, err := c.Open(nil, sealed[:c.NonceSize()], sealed[c.NonceSize():], []byte(label))
	if err != nil {
		return nil, fmt.Errorf("%s can't be decrypted with key %s: %w", label, id, err)
	}
	return plain, nil
}

// sealText and openText keep a sealed value as "keyid:base64".
func (k *keyring) sealText(label string, plain []byte) (string, error) {
	id, sealed, err := k.seal(label, plain)
	return id + ":" + base64.StdEncoding.EncodeToString(sealed), err
}

func (k *keyring) openText(label, text string) ([]byte, error) {
	id, body, _ := strings.Cut(text, ":")
	sealed, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	return k.open(id, label, sealed)
}
