package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/store"
)

// prefix lets secret scanners recognise a token.
const prefix = "trueup_"

// NewToken makes a token of 256 random bits and the hash to put into the
// operator's file.
func NewToken() (token, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return token, Hash(token)
}

// Hash gives the hex SHA-256 of a token. Tokens are random, so that a plain
// hash is enough.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Bearer recognises the user of an Authorization header. It looks at every
// user, in constant time each, so that time tells nothing about which exist.
func Bearer(header string, users map[string]*config.User) (Identity, error) {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Identity{}, fmt.Errorf("%w: send a token as Authorization: Bearer", ErrUnknown)
	}
	hash := []byte(Hash(strings.TrimSpace(token)))
	var found Identity
	for name, u := range users {
		if u == nil || len(u.TokenHash) != len(hash) {
			continue
		}
		if subtle.ConstantTimeCompare(hash, []byte(strings.ToLower(u.TokenHash))) == 1 {
			found = UserIdentity(name, u)
		}
	}
	if found.Actor == "" {
		return Identity{}, fmt.Errorf("%w: the token belongs to no user", ErrUnknown)
	}
	return found, nil
}

// UserIdentity is the identity of a user of the configuration.
func UserIdentity(name string, u *config.User) Identity {
	role := Role(u.Role)
	if role == "" {
		role = Viewer
	}
	return Identity{Actor: store.Actor("user:" + name), Role: role, Teams: u.Teams, Environments: u.Environments}
}
