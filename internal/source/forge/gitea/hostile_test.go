package gitea_test

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
	h.Set("X-Gitea-Signature", hex.EncodeToString(m.Sum(nil)))
}

func TestHostileDeliveries(t *testing.T) {
	f := open(t, "https://git.example")
	hooktest.Hostile(t, f, sign, "a secret of sixteen or more", "another one, just as long")
	hooktest.Tampered(t, f, sign, "a secret of sixteen or more")
}
