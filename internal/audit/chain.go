// Package audit chains and signs the record of all that happened, checks it,
// and shows it: who proposed, approved and merged what, and what was applied
// when. It does no input or output of its own.
package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// The kinds of events that the store itself adds, in the transaction of what
// they tell.
const (
	// RunFinished has a whole run as it ended.
	RunFinished = "run.finished"
	// Approval and Rejection have a decision on a plan.
	Approval  = "approval"
	Rejection = "rejection"
	// Retained tells that old events were dropped, and where the record begins
	// since.
	Retained = "audit.retained"
)

// RunData is the data of RunFinished. Record is the digest of the row.
type RunData struct {
	Record string `json:"record"`
	store.Run
}

// ApprovalData is the data of Approval and Rejection.
type ApprovalData struct {
	Record      string `json:"record"`
	Environment string `json:"environment,omitempty"`
	store.Approval
}

// RetainedData is the data of Retained.
type RetainedData struct {
	Seq     int64  `json:"seq"`
	Hash    string `json:"hash"`
	Dropped int64  `json:"dropped"`
}

// Genesis is the hash before the first event.
var Genesis = digest([]byte("trueup audit chain 1"))

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// RecordDigest stands for a stored document, whatever its spacing.
func RecordDigest(doc []byte) (string, error) {
	c, err := plan.Canonical(doc)
	if err != nil {
		return "", err
	}
	return digest(c), nil
}

// Hash covers an event and the hash of the one before it.
func Hash(prev string, e store.Event) (string, error) {
	data, err := plan.Canonical(e.Data)
	if err != nil {
		return "", fmt.Errorf("event %d: %w", e.Seq, err)
	}
	// Every field is quoted, so that none can run into the next.
	body, err := json.Marshal([]string{"trueup audit event 1", prev, strconv.FormatInt(e.Seq, 10), strconv.FormatInt(e.At.UnixMicro(), 10),
		string(e.Actor), e.Kind, e.Target, e.Run, string(data)})
	return digest(body), err
}

// Signer signs with the store's key.
type Signer struct{ key ed25519.PrivateKey }

// NewSigner makes a signer of a seed of 32 bytes.
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("a seed has %d bytes, it needs %d", len(seed), ed25519.SeedSize)
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public gives the public key.
func (s *Signer) Public() Key {
	pub, _ := s.key.Public().(ed25519.PublicKey)
	return Key(pub)
}

// Seal fills in an event's hash and signature.
func (s *Signer) Seal(prev string, e *store.Event) error {
	var err error
	if e.Hash, err = Hash(prev, *e); err != nil {
		return err
	}
	e.Sig = s.Sign(e.Hash)
	return nil
}

// Sign signs a text.
func (s *Signer) Sign(text string) string {
	return base64.RawStdEncoding.EncodeToString(ed25519.Sign(s.key, []byte(text)))
}

// Key is a public key.
type Key ed25519.PublicKey

// keyPrefix tells what the key is for.
const keyPrefix = "trueup-audit-ed25519:"

// ParseKey reads a key as String writes it.
func ParseKey(text string) (Key, error) {
	if len(text) <= len(keyPrefix) || text[:len(keyPrefix)] != keyPrefix {
		return nil, fmt.Errorf("a key begins with %s (trueup audit key prints it)", keyPrefix)
	}
	b, err := base64.RawStdEncoding.DecodeString(text[len(keyPrefix):])
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("the key can't be read: copy all of what trueup audit key prints")
	}
	return Key(b), nil
}

// String writes the key for people.
func (k Key) String() string { return keyPrefix + base64.RawStdEncoding.EncodeToString(k) }

// Signed tells whether the key's owner signed a text.
func (k Key) Signed(text, sig string) bool {
	b, err := base64.RawStdEncoding.DecodeString(sig)
	return err == nil && len(k) == ed25519.PublicKeySize && ed25519.Verify(ed25519.PublicKey(k), []byte(text), b)
}

// Later gives the time of an event: never before the one in front of it, in
// microseconds as the store keeps it.
func Later(now, prev time.Time) time.Time {
	now = now.UTC().Truncate(time.Microsecond)
	if now.Before(prev) {
		return prev
	}
	return now
}
