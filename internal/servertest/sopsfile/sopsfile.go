// Package sopsfile makes files as the sops program does, for tests.
package sopsfile

import (
	"testing"
	"time"

	"filippo.io/age"
	mozsops "github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
)

// Encrypted makes a file as the sops program does.
func Encrypted(t testing.TB, name, text string, to ...keys.MasterKey) []byte {
	t.Helper()
	return encrypted(t, name, text, mozsops.Metadata{UnencryptedSuffix: "_unencrypted"}, to)
}

// Partly encrypts the values below the keys that match, as sops does with
// encrypted_regex.
func Partly(t testing.TB, name, text, match string, to ...keys.MasterKey) []byte {
	t.Helper()
	return encrypted(t, name, text, mozsops.Metadata{EncryptedRegex: match}, to)
}

func encrypted(t testing.TB, name, text string, meta mozsops.Metadata, to []keys.MasterKey) []byte {
	t.Helper()
	store := common.StoreForFormat(formats.FormatForPath(name), config.NewStoresConfig())
	branches, err := store.LoadPlainFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	meta.KeyGroups, meta.Version, meta.LastModified = []mozsops.KeyGroup{to}, "3.13.3", time.Now().UTC()
	tree := mozsops.Tree{Branches: branches, Metadata: meta}
	key, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Identity makes an age identity and the key that encrypts for it.
func Identity(t testing.TB) (*age.X25519Identity, keys.MasterKey) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sopsage.MasterKeyFromRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	return id, key
}
