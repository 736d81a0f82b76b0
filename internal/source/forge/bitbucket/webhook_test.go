package bitbucket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/hooktest"
)

func offline(t testing.TB) *Forge {
	f, err := Open(t.Context(), forge.Options{Project: project, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*Forge)
}

func sign(h http.Header, body []byte, s string) {
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write(body)
	h.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

func TestDeliveries(t *testing.T) { hooktest.Golden(t, offline(t), "testdata/webhooks") }

func TestVerify(t *testing.T) {
	f := offline(t)
	hooktest.Hostile(t, f, sign, "s3cret", "another")
	hooktest.Tampered(t, f, sign, "s3cret")
}

func TestLyingDeliveries(t *testing.T) {
	f := offline(t)
	for _, c := range []struct{ event, body string }{
		{"repo:push", `{}`}, {"repo:push", `[`}, {"pullrequest:created", `{}`}, {"pullrequest:created", `{"pullrequest":{"id":-3}}`},
		{"pullrequest:comment_created", `{"pullrequest":{"id":3}}`}, {"pullrequest:comment_created", `{"pullrequest":{"id":3},"comment":{}}`},
	} {
		if e, err := f.Parse(http.Header{"X-Event-Key": {c.event}}, []byte(c.body)); err == nil {
			t.Errorf("%s %s gives %+v", c.event, c.body, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	hooktest.Fuzz(f, offline(f), "testdata/webhooks", "X-Event-Key", "pullrequest:created", "pullrequest:comment_created", "repo:push")
}

// FuzzVerify looks for headers that get in without the secret.
func FuzzVerify(f *testing.F) {
	g := offline(f)
	f.Add("sha256=00", []byte("{}"))
	f.Fuzz(func(t *testing.T, sig string, body []byte) {
		if g.Verify(http.Header{"X-Hub-Signature": {sig}}, body, []secret.Value{secret.New("a long secret that nobody guesses 8472"), secret.New("")}) == nil {
			t.Error("it got in")
		}
	})
}
