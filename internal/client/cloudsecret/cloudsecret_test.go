package cloudsecret

import (
	"context"
	"errors"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/cloudfake"
)

var held = cloudfake.Secrets{"db": document, "plain": "canary-text"}

const document = `{"user":"app","password":"canary-pw","port":5432}`

// resolver is what the three have in common.
type resolver interface {
	Resolve(ctx context.Context, rest string) (secret.Value, error)
}

// behaves checks what all three promise. Each fake has the secret "db" with
// the document above and "plain" with canary-text.
func behaves(t *testing.T, r resolver) {
	t.Helper()
	for ref, want := range map[string]string{"db#password": "canary-pw", "db#port": "5432", "db": document, "plain": "canary-text"} {
		if v, err := r.Resolve(t.Context(), ref); err != nil || v.Reveal() != want {
			t.Errorf("%s: %q, %v", ref, v.Reveal(), err)
		}
	}
	for _, ref := range []string{"none", "db#none"} {
		if _, err := r.Resolve(t.Context(), ref); !errors.Is(err, secret.ErrNotFound) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"", "#x", "db#", "plain#field"} {
		if _, err := r.Resolve(t.Context(), ref); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func TestAWS(t *testing.T) {
	s := cloudfake.AWS(t, held)
	keys := func(key string) func(context.Context) (string, secret.Value, secret.Value, error) {
		return func(context.Context) (string, secret.Value, secret.Value, error) {
			return "AKID", secret.New(key), secret.New("canary-session"), nil
		}
	}
	behaves(t, &AWS{Region: "eu-west-1", Endpoint: s.URL, Keys: keys("canary-key")})
	_, err := (&AWS{Region: "eu-west-1", Endpoint: s.URL, Keys: keys("canary-wrong")}).Resolve(t.Context(), "db")
	if err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong key: %v", err)
	}
}

func TestGCP(t *testing.T) {
	s, key := cloudfake.GCP(t, held)
	give := func(v string) func(context.Context) (secret.Value, error) {
		return func(context.Context) (secret.Value, error) { return secret.New(v), nil }
	}
	g := &GCP{Project: "p1", Endpoint: s.URL, Key: give(key)}
	behaves(t, g)
	if v, err := g.Resolve(t.Context(), "projects/p1/secrets/plain/versions/latest"); err != nil || v.Reveal() != "canary-text" {
		t.Errorf("the full name: %v", err)
	}
	_, err := (&GCP{Project: "p1", Endpoint: s.URL, Key: give(`{"type":"service_account","private_key":"canary-key"`)}).Resolve(t.Context(), "db")
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a broken key: %v", err)
	}
}

func TestAzure(t *testing.T) {
	s := cloudfake.Azure(t, held)
	with := func(key string) *Azure {
		return &Azure{Vault: s.URL, Tenant: "tenant1", Client: "client1", Authority: s.URL, HTTP: s.Client(),
			Secret: func(context.Context) (secret.Value, error) { return secret.New(key), nil }}
	}
	behaves(t, with("canary-secret"))
	if _, err := with("canary-wrong").Resolve(t.Context(), "db"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong secret: %v", err)
	}
}
