package github_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	"trueup.dev/trueup/internal/source/forge/hooktest"
)

func sign(h http.Header, body []byte, secret string) {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(m.Sum(nil)))
}

func TestHostileDeliveries(t *testing.T) {
	f := open(t, nil)
	hooktest.Hostile(t, f, sign, "a secret of sixteen or more", "another one, just as long")
	hooktest.Tampered(t, f, sign, "a secret of sixteen or more")
}
