//go:build real

package vault_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	client "trueup.dev/trueup/internal/client/vault"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/kubetest"
	"trueup.dev/trueup/internal/servertest/vault"
)

const policyText = `path "kv/*" { capabilities = ["read"] }
path "old/*" { capabilities = ["read"] }
path "leased/*" { capabilities = ["read"] }`

// prepared is a Vault with secrets in every kind of engine and a policy that
// may read them.
func prepared(t *testing.T) *vault.Server {
	v := vault.Start(t)
	v.API(t, "POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	v.API(t, "POST", "sys/mounts/old", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	v.API(t, "POST", "sys/mounts/leased", map[string]any{"type": "leased"})
	v.API(t, "POST", "kv/config", map[string]any{"max_versions": 5}) // also waits for the upgrade to version 2
	v.API(t, "POST", "kv/data/team/dns", map[string]any{"data": map[string]any{"tsig": "canary-new", "port": 53}})
	v.API(t, "POST", "old/dns", map[string]any{"tsig": "canary-old"})
	v.API(t, "POST", "sys/policies/acl/reader", map[string]any{"policy": policyText})
	return v
}

func open(t *testing.T, v *vault.Server, a client.Auth) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Address: v.URL, Auth: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func given(v string) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) { return secret.New(v), nil }
}

func read(t *testing.T, c *client.Client, ref string) string {
	t.Helper()
	v, err := c.Resolve(t.Context(), ref)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return v.Reveal()
}

func TestRealKeyValue(t *testing.T) {
	v := prepared(t)
	c := open(t, v, client.Auth{Method: "token", Secret: given(v.Root)})
	for ref, want := range map[string]string{"kv/team/dns#tsig": "canary-new", "kv/team/dns#port": "53", "old/dns#tsig": "canary-old"} {
		if got := read(t, c, ref); got != want {
			t.Errorf("%s is %q", ref, got)
		}
	}
	v.API(t, "POST", "kv/data/team/dns", map[string]any{"data": map[string]any{"tsig": "canary-newer"}})
	if got := read(t, c, "kv/team/dns#tsig"); got != "canary-newer" {
		t.Errorf("a new version is not seen: %q", got)
	}
	if got := read(t, c, "kv/team/dns#tsig@1"); got != "canary-new" {
		t.Errorf("version 1 is %q", got)
	}
	v.API(t, "DELETE", "kv/data/team/dns", nil)
	for _, ref := range []string{"kv/team/dns#tsig", "kv/none#x", "old/none#x", "old/dns#none"} {
		if _, err := c.Resolve(t.Context(), ref); !errors.Is(err, secret.ErrNotFound) {
			t.Errorf("%s: %v", ref, err)
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), v.Root) {
			t.Errorf("an error shows a secret: %v", err)
		}
	}
	// Vault does not tell an engine that is not there from one that is hidden.
	if _, err := c.Resolve(t.Context(), "nowhere/a#b"); err == nil || !strings.Contains(err.Error(), "no secrets engine nowhere, or") {
		t.Errorf("an engine that is not there: %v", err)
	}
}

func TestRealAppRole(t *testing.T) {
	v := prepared(t)
	v.API(t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.API(t, "POST", "auth/approle/role/trueup", map[string]any{"token_policies": "reader", "token_ttl": "8s", "token_max_ttl": "1h"})
	id := v.API(t, "GET", "auth/approle/role/trueup/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	sid := v.API(t, "POST", "auth/approle/role/trueup/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	logins := 0
	c := open(t, v, client.Auth{Method: "approle", Role: id, Secret: func(context.Context) (secret.Value, error) { logins++; return secret.New(sid), nil }})
	if got := read(t, c, "kv/team/dns#tsig"); got != "canary-new" {
		t.Fatalf("%q", got)
	}
	// The token lives for 8 s: after that only a renewal has kept it.
	time.Sleep(9 * time.Second)
	if got := read(t, c, "kv/team/dns#tsig"); got != "canary-new" || logins != 1 {
		t.Errorf("%q after %d logins; the token was not renewed", got, logins)
	}
	// Somebody revokes all tokens of the role: the next read logs in anew.
	v.API(t, "POST", "sys/leases/revoke-prefix/auth/approle/login", nil)
	if got := read(t, c, "kv/team/dns#tsig"); got != "canary-new" || logins != 2 {
		t.Errorf("%q after %d logins", got, logins)
	}
	bad := open(t, v, client.Auth{Method: "approle", Role: id, Secret: given("canary-wrong")})
	if _, err := bad.Resolve(t.Context(), "kv/team/dns#tsig"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong secret id gives %v", err)
	}
	if _, err := c.Resolve(t.Context(), "sys/x#y"); err == nil {
		t.Error("what the policy does not allow was read")
	}
}

func TestRealJWT(t *testing.T) {
	v := prepared(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	v.API(t, "POST", "sys/auth/ci", map[string]any{"type": "jwt"})
	v.API(t, "POST", "auth/ci/config", map[string]any{"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}})
	v.API(t, "POST", "auth/ci/role/trueup", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": "reader"})
	c := open(t, v, client.Auth{Method: "jwt", Mount: "ci", Role: "trueup", Secret: given(sign(t, private, "vault"))})
	if got := read(t, c, "old/dns#tsig"); got != "canary-old" {
		t.Errorf("%q", got)
	}
	other := open(t, v, client.Auth{Method: "jwt", Mount: "ci", Role: "trueup", Secret: given(sign(t, private, "elsewhere"))})
	if _, err := other.Resolve(t.Context(), "old/dns#tsig"); err == nil {
		t.Error("a token for somebody else logs in")
	}
}

func sign(t *testing.T, key ed25519.PrivateKey, audience string) string {
	t.Helper()
	text := part(t, map[string]any{"alg": "EdDSA", "typ": "JWT"}) + "." +
		part(t, map[string]any{"sub": "trueup", "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()})
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// TestRealKubernetes logs in by a service account's token, which Vault lets a
// real API server review.
func TestRealKubernetes(t *testing.T) {
	v := prepared(t)
	c := kubetest.Start(t, "-api-only")
	c.Kubectl(t, "create", "namespace", "ops")
	for _, name := range []string{"trueup", "other"} {
		c.Kubectl(t, "-n", "ops", "create", "serviceaccount", name)
		c.Kubectl(t, "create", "clusterrolebinding", name, "--clusterrole=system:auth-delegator", "--serviceaccount=ops:"+name)
	}
	ca := c.Kubectl(t, "config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}")
	pem, err := base64.StdEncoding.DecodeString(ca)
	if err != nil {
		t.Fatal(err)
	}
	v.API(t, "POST", "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	v.API(t, "POST", "auth/kubernetes/config", map[string]any{"kubernetes_host": c.URL, "kubernetes_ca_cert": string(pem), "disable_local_ca_jwt": true})
	v.API(t, "POST", "auth/kubernetes/role/trueup", map[string]any{"bound_service_account_names": "trueup",
		"bound_service_account_namespaces": "ops", "token_policies": "reader"})
	token := func(account string) client.Auth {
		// Not `kubectl create token`, which older clients don't have.
		out, err := c.RunIn(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`,
			"create", "--raw", "/api/v1/namespaces/ops/serviceaccounts/"+account+"/token", "-f", "-")
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Status struct{ Token string } }
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatal(err)
		}
		return client.Auth{Method: "kubernetes", Role: "trueup", Secret: given(answer.Status.Token)}
	}
	if got := read(t, open(t, v, token("trueup")), "kv/team/dns#tsig"); got != "canary-new" {
		t.Errorf("%q", got)
	}
	if _, err := open(t, v, token("other")).Resolve(t.Context(), "kv/team/dns#tsig"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("another service account: %v", err)
	}
}

// part is one part of a JWT.
func part(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestRealLease reads what has a lease: it stays the same while the lease can
// be renewed, and a new one is read after it ended.
func TestRealLease(t *testing.T) {
	v := prepared(t)
	v.API(t, "POST", "leased/db", map[string]any{"password": "canary-one", "ttl": "3s"})
	c := open(t, v, client.Auth{Method: "token", Secret: given(v.Root)})
	if got := read(t, c, "leased/db#password"); got != "canary-one" {
		t.Fatalf("%q", got)
	}
	v.API(t, "POST", "leased/db", map[string]any{"password": "canary-two", "ttl": "3s"})
	if got := read(t, c, "leased/db#password"); got != "canary-one" {
		t.Errorf("within one lease the secret changed to %q", got)
	}
	v.API(t, "POST", "sys/leases/revoke-prefix/leased/db", nil)
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if read(t, c, "leased/db#password") == "canary-two" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("after its lease ended the old secret is still given out")
		}
	}
}
