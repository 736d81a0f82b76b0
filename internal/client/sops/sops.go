// Package sops reads files encrypted with SOPS (https://getsops.io), through
// its library: YAML, JSON, dotenv, INI and binary files, with data keys that
// are encrypted for age, PGP or the key services of the clouds.
package sops

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"

	"trueup.dev/trueup/internal/secret"
)

// Keys say what may open a file.
type Keys struct {
	// Age are age identities ("AGE-SECRET-KEY-…"), any number in each text.
	Age []secret.Value
	// Types are the kinds of keys that may be used: age, pgp, kms, gcp_kms,
	// azure_kv, hc_vault. Empty is age alone: a file names the key service
	// that is asked, so the others are for files that are trusted.
	Types []string
}

// MaxFile bounds an encrypted file in bytes.
const MaxFile = 8 << 20

// Decrypt gives the plain text of a file, in the file's own format, which the
// ending of its name tells. The file's own checksum (MAC) is verified.
func Decrypt(ctx context.Context, name string, data []byte, k Keys) ([]byte, error) {
	tree, store, err := open(ctx, name, data, k)
	if err != nil {
		return nil, err
	}
	plain, err := store.EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, fmt.Errorf("sops: %s: %w", name, err)
	}
	return plain, nil
}

// Value gives one value of a file: keys from the top, joined by dots, or a
// JSON pointer (RFC 6901) that starts with a slash.
func Value(ctx context.Context, name string, data []byte, at string, k Keys) (secret.Value, error) {
	tree, _, err := open(ctx, name, data, k)
	if err != nil {
		return secret.Value{}, err
	}
	if len(tree.Branches) != 1 {
		return secret.Value{}, fmt.Errorf("sops: %s has %d documents, a value is read from one", name, len(tree.Branches))
	}
	found, err := tree.Branches[0].Truncate(steps(at))
	if err != nil {
		return secret.Value{}, fmt.Errorf("sops: %s has no value at %q: %w", name, at, secret.ErrNotFound)
	}
	switch v := found.(type) {
	case string:
		return secret.New(v), nil
	case int, float64, bool, time.Time:
		return secret.New(fmt.Sprint(v)), nil
	}
	return secret.Value{}, fmt.Errorf("sops: %q of %s is no single value", at, name)
}

func steps(at string) []any {
	parts := strings.Split(at, ".")
	if rest, ok := strings.CutPrefix(at, "/"); ok {
		parts = strings.Split(rest, "/")
		for i := range parts {
			parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[i])
		}
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
		if n, err := strconv.Atoi(p); err == nil {
			out[i] = n
		}
	}
	return out
}

// open decrypts a file's values in memory.
func open(ctx context.Context, name string, data []byte, k Keys) (*sops.Tree, common.Store, error) {
	if len(data) > MaxFile {
		return nil, nil, fmt.Errorf("sops: %s has %d bytes, the limit is %d", name, len(data), MaxFile)
	}
	store := common.StoreForFormat(formats.FormatForPath(path.Base(name)), config.NewStoresConfig())
	tree, err := store.LoadEncryptedFile(data)
	if err != nil {
		return nil, nil, fmt.Errorf("sops: %s: %w", name, err)
	}
	service, err := newService(k)
	if err != nil {
		return nil, nil, err
	}
	if err := allow(name, &tree, k.Types); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	key, err := tree.Metadata.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(service)}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("sops: %s: none of the keys opens it: %w", name, err)
	}
	return &tree, store, verify(name, &tree, key)
}

// verify decrypts the tree and compares its checksum with the file's.
func verify(name string, tree *sops.Tree, key []byte) error {
	cipher := aes.NewCipher()
	mac, err := tree.Decrypt(key, cipher)
	if err != nil {
		return fmt.Errorf("sops: %s: %w", name, err)
	}
	kept, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("sops: %s: its checksum can't be read: %w", name, err)
	}
	if kept != mac {
		return fmt.Errorf("sops: %s was changed after it was encrypted: its checksum does not fit", name)
	}
	return nil
}

// allow drops the keys of kinds that may not be used.
func allow(name string, tree *sops.Tree, types []string) error {
	if len(types) == 0 {
		types = []string{sopsage.KeyTypeIdentifier}
	}
	var refused []string
	left := 0
	for i, group := range tree.Metadata.KeyGroups {
		var kept sops.KeyGroup
		for _, key := range group {
			if slices.Contains(types, key.TypeToIdentifier()) {
				kept = append(kept, key)
			} else if !slices.Contains(refused, key.TypeToIdentifier()) {
				refused = append(refused, key.TypeToIdentifier())
			}
		}
		tree.Metadata.KeyGroups[i] = kept
		left += len(kept)
	}
	if left == 0 {
		return fmt.Errorf("sops: %s is encrypted for %s, and only %s may be used", name, strings.Join(refused, ", "), strings.Join(types, ", "))
	}
	return nil
}

// service decrypts data keys: with the identities given for age, and as the
// library does for the others.
type service struct {
	keyservice.Server
	age sopsage.ParsedIdentities
}

func newService(k Keys) (*service, error) {
	s := &service{}
	for _, text := range k.Age {
		if err := s.age.Import(text.Reveal()); err != nil {
			return nil, errors.New("sops: an age identity can't be read (not shown: it is a secret)")
		}
	}
	return s, nil
}

// Decrypt opens one data key. An age key is tried with the identities given
// alone, never with what the environment or a home directory has.
func (s *service) Decrypt(ctx context.Context, r *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	a := r.GetKey().GetAgeKey()
	if a == nil {
		return s.Server.Decrypt(ctx, r)
	}
	if len(s.age) == 0 {
		return nil, errors.New("there is no age identity to try")
	}
	key := sopsage.MasterKey{Recipient: a.Recipient, EncryptedKey: string(r.Ciphertext)}
	s.age.ApplyToMasterKey(&key)
	plain, err := key.Decrypt()
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}
