package tofu

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"trueup.dev/trueup/internal/driver"
)

// rescueDir is where states wait that could not be written.
func (s *session) rescueDir() string {
	if s.c.Rescue != "" {
		return within(s.env.Dir, s.c.Rescue)
	}
	return filepath.Join(s.cache, "rescue")
}

func (w *work) rescueFile() string { return filepath.Join(w.s.rescueDir(), w.key+".tfstate.enc") }

// sealer encrypts with a key that comes from the store's; without a store
// there is nothing to derive one from.
func (s *session) sealer() (cipher.AEAD, error) {
	if len(s.env.HashKey) == 0 {
		return nil, errors.New("there is no key to encrypt it with")
	}
	key, err := hkdf.Key(sha256.New, s.env.HashKey, nil, "trueup tofu rescued state", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// keepRescued saves a state, encrypted, and durably.
func (w *work) keepRescued(state []byte) (string, error) {
	aead, err := w.s.sealer()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(w.s.rescueDir(), 0o700); err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	name := w.rescueFile()
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(aead.Seal(nonce, nonce, state, []byte(w.key)))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", err
	}
	return name, os.Rename(name+".new", name)
}

// leftBehind saves a state that the program of a killed run left in the
// working copy, before that is cleared.
func (w *work) leftBehind() error {
	body, err := os.ReadFile(filepath.Join(w.rootDir(), "errored.tfstate"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = w.keepRescued(body)
	}
	if err != nil {
		return fmt.Errorf("an earlier run left its state in %s, and it can't be saved: %w", w.rootDir(), err)
	}
	return nil
}

// readRescued gives the state that waits; nil when none does.
func (w *work) readRescued() ([]byte, error) {
	body, err := os.ReadFile(w.rescueFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	aead, err := w.s.sealer()
	if err != nil {
		return nil, err
	}
	if len(body) < aead.NonceSize() {
		return nil, fmt.Errorf("%s is damaged", w.rescueFile())
	}
	state, err := aead.Open(nil, body[:aead.NonceSize()], body[aead.NonceSize():], []byte(w.key))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.rescueFile(), err)
	}
	return state, nil
}

// rescued refuses to plan while a rescued state waits: the state in the
// backend lacks what the last apply did, and a plan would do it twice.
func (w *work) rescued() error {
	if !exists(w.rescueFile()) {
		return nil
	}
	return driver.Permanent(fmt.Errorf("a state of this target waits in %s, because it could not be written to its backend. "+
		"Bring it back with: trueup state recover %s", w.rescueFile(), w.in.Target))
}

// newer gives the rescued state a serial above that of the state in the
// backend, where both have the same: Terraform may not have counted up yet.
// Nobody else has written since, or the serial would be higher.
func (w *work) newer(ctx context.Context, state []byte) (stateMeta, []byte, error) {
	var meta stateMeta
	if err := json.Unmarshal(state, &meta); err != nil {
		return meta, nil, fmt.Errorf("the saved state: %w", err)
	}
	now, err := w.pullMeta(ctx)
	if err != nil || now.Lineage != meta.Lineage || now.Serial != meta.Serial {
		return meta, state, err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(state, &doc); err != nil {
		return meta, nil, fmt.Errorf("the saved state: %w", err)
	}
	meta.Serial++
	doc["serial"] = json.RawMessage(strconv.FormatInt(meta.Serial, 10))
	state, err = json.Marshal(doc)
	return meta, state, err
}

// recover brings a rescued state back to its backend.
func (w *work) recover(ctx context.Context) (string, error) {
	state, err := w.readRescued()
	if err != nil {
		return "", err
	}
	if state == nil {
		return "", driver.Permanent(errors.New("no state of this target waits to be brought back"))
	}
	meta, state, err := w.newer(ctx, state)
	if err != nil {
		return "", err
	}
	if err := w.write("secrets/rescued.tfstate", state); err != nil {
		return "", err
	}
	if err := w.s.owner.give(w.path("secrets", "rescued.tfstate")); err != nil {
		return "", err
	}
	// Without -force: a newer or a different state is not overwritten.
	if _, err := w.start(context.WithoutCancel(ctx), invocation{args: []string{"state", "push", "-lock-timeout=" + w.s.c.lockTimeout().String(),
		w.path("secrets", "rescued.tfstate")}}); err != nil {
		return "", w.explain("state push", err)
	}
	return fmt.Sprintf("the state with serial %d is in its backend again", meta.Serial), os.Remove(w.rescueFile())
}
