package sops_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	mozsops "github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/kms"

	"trueup.dev/trueup/internal/client/sops"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sopsfile"
)

const plain = "dns:\n  tsig: canary-tsig\n  port: 53\n  list:\n    - a\n    - canary-b\n"

func TestReadsWhatWasEncryptedForAge(t *testing.T) {
	id, key := sopsfile.Identity(t)
	other, _ := sopsfile.Identity(t)
	body := sopsfile.Encrypted(t, "prod.yaml", plain, key)
	if bytes.Contains(body, []byte("canary")) {
		t.Fatal("the file is not encrypted")
	}
	with := sops.Keys{Age: []secret.Value{secret.New("# mine\n" + other.String()), secret.New(id.String())}}
	got, err := sops.Decrypt(t.Context(), "prod.yaml", body, with)
	if err != nil || !strings.Contains(string(got), "canary-tsig") || strings.Contains(string(got), "sops:") {
		t.Fatalf("%s, %v", got, err)
	}
	for at, want := range map[string]string{"dns.tsig": "canary-tsig", "/dns/tsig": "canary-tsig", "dns.port": "53", "dns.list.1": "canary-b"} {
		if v, err := sops.Value(t.Context(), "prod.yaml", body, at, with); err != nil || v.Reveal() != want {
			t.Errorf("%s: %q, %v", at, v.Reveal(), err)
		}
	}
	if _, err := sops.Value(t.Context(), "prod.yaml", body, "dns.none", with); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("a value that is not there: %v", err)
	}
	if _, err := sops.Value(t.Context(), "prod.yaml", body, "dns", with); err == nil {
		t.Error("a mapping was given as one value")
	}
}

// TestOnlyTheGivenIdentitiesCount: what lies in the environment or the home
// directory opens nothing.
func TestOnlyTheGivenIdentitiesCount(t *testing.T) {
	id, key := sopsfile.Identity(t)
	other, _ := sopsfile.Identity(t)
	t.Setenv("SOPS_AGE_KEY", id.String())
	body := sopsfile.Encrypted(t, "prod.json", `{"a": "canary"}`, key)
	for _, k := range []sops.Keys{{}, {Age: []secret.Value{secret.New(other.String())}}} {
		if _, err := sops.Decrypt(t.Context(), "prod.json", body, k); err == nil {
			t.Error("a file was opened with an identity of the environment")
		} else if strings.Contains(err.Error(), id.String()) || strings.Contains(err.Error(), "canary") {
			t.Errorf("an error shows a secret: %v", err)
		}
	}
	_, err := sops.Decrypt(t.Context(), "prod.json", body, sops.Keys{Age: []secret.Value{secret.New("AGE-SECRET-KEY-canary")}})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a broken identity: %v", err)
	}
}

// TestOtherKindsOfKeysAreRefused: a file from a repository must not make us
// ask a key service of its own choice.
func TestOtherKindsOfKeysAreRefused(t *testing.T) {
	id, key := sopsfile.Identity(t)
	body := sopsfile.Encrypted(t, "prod.yaml", plain, key)
	aws := kms.NewMasterKeyFromArn("arn:aws:kms:eu-west-1:111111111111:key/11111111-1111-1111-1111-111111111111", nil, "")
	tree, err := common.StoreForFormat(formats.Yaml, config.NewStoresConfig()).LoadEncryptedFile(body)
	if err != nil {
		t.Fatal(err)
	}
	aws.EncryptedKey = "AAAA"
	tree.Metadata.KeyGroups = []mozsops.KeyGroup{{aws}}
	only, err := common.StoreForFormat(formats.Yaml, config.NewStoresConfig()).EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sops.Decrypt(t.Context(), "prod.yaml", only, sops.Keys{Age: []secret.Value{secret.New(id.String())}})
	if err == nil || !strings.Contains(err.Error(), "only age may be used") {
		t.Errorf("%v", err)
	}
}

func TestTamperedFileIsRefused(t *testing.T) {
	id, key := sopsfile.Identity(t)
	body := sopsfile.Encrypted(t, "prod.yaml", "a: one\nb_unencrypted: x\n", key)
	with := sops.Keys{Age: []secret.Value{secret.New(id.String())}}
	if _, err := sops.Decrypt(t.Context(), "prod.yaml", body, with); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(body, []byte("b_unencrypted: x"), []byte("b_unencrypted: y"), 1)
	if _, err := sops.Decrypt(t.Context(), "prod.yaml", changed, with); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a changed file: %v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add("a.yaml", []byte("a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nsops:\n  mac: x\n"))
	f.Add("a.json", []byte(`{"sops": {"age": []}}`))
	f.Add("a.env", []byte("sops_mac=1\n"))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if _, err := sops.Decrypt(t.Context(), name, body, sops.Keys{}); err == nil {
			t.Error("a file was opened without any key")
		}
	})
}
