package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"trueup.dev/trueup/internal/secret"
)

// Signed checks an HMAC-SHA256 that was given as hex over the parts, one
// after the other. Every secret is tried, each in constant time and none left
// out, so that the time tells nothing about which one fitted. An empty secret
// never fits. It gives ErrSignature when none does.
func Signed(given string, secrets []secret.Value, parts ...[]byte) error {
	mac, err := hex.DecodeString(given)
	if err != nil {
		return ErrSignature
	}
	return SignedBytes(mac, secrets, parts...)
}

// SignedBytes is Signed with the bytes of the HMAC.
func SignedBytes(given []byte, secrets []secret.Value, parts ...[]byte) error {
	ok := false
	for _, v := range secrets {
		mac := hmac.New(sha256.New, []byte(v.Reveal()))
		for _, p := range parts {
			mac.Write(p)
		}
		if hmac.Equal(mac.Sum(nil), given) && !v.Empty() {
			ok = true
		}
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// SameToken compares a token that was sent in the clear with every secret, in
// a time that depends on neither their contents nor their lengths. An empty
// secret never fits. It gives ErrSignature when none does.
func SameToken(given string, secrets []secret.Value) error {
	sum := sha256.Sum256([]byte(given))
	ok := false
	for _, v := range secrets {
		want := sha256.Sum256([]byte(v.Reveal()))
		if hmac.Equal(sum[:], want[:]) && !v.Empty() {
			ok = true
		}
	}
	if !ok {
		return ErrSignature
	}
	return nil
}
