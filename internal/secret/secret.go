// Package secret holds secret values that never print, references to them,
// and the resolvers that turn a reference into a value.
package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const masked = "***"

// Value is a secret. It prints, logs and serialises as "***"; only Reveal
// gives the secret itself.
type Value struct{ v string }

// New makes a secret of a string.
func New(v string) Value { return Value{v} }

// Reveal gives the secret. Call it only where it is handed to the other side.
func (v Value) Reveal() string { return v.v }

// Empty tells that there is no secret.
func (v Value) Empty() bool { return v.v == "" }

// String gives "***".
func (v Value) String() string { return masked }

// GoString gives "***".
func (v Value) GoString() string { return masked }

// Format prints "***" for every verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(masked)) }

// MarshalText gives "***".
func (v Value) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue gives "***".
func (v Value) LogValue() slog.Value { return slog.StringValue(masked) }

// Ref names a secret: "scheme:rest", for example env:TSIG_KEY,
// file:/run/secrets/tsig or vault:kv/dns#tsig. It is not secret itself.
type Ref string

// Scheme gives the part before the first colon, or "".
func (r Ref) Scheme() string {
	scheme, _, ok := strings.Cut(string(r), ":")
	if !ok {
		return ""
	}
	return scheme
}

// Resolver turns the part of a reference behind its scheme into a value.
// Vault, SOPS and the clouds' secret stores join by implementing it.
type Resolver interface {
	Resolve(ctx context.Context, rest string) (Value, error)
}

// ErrNotFound says that the reference names nothing.
var ErrNotFound = errors.New("secret not found")

// Resolvers is a set of resolvers by scheme.
type Resolvers map[string]Resolver

// Resolve finds the resolver of a reference and asks it. The empty reference
// gives the empty value.
func (rs Resolvers) Resolve(ctx context.Context, ref Ref) (Value, error) {
	if ref == "" {
		return Value{}, nil
	}
	scheme, rest, _ := strings.Cut(string(ref), ":")
	r, ok := rs[scheme]
	if !ok {
		// What stands there may be a secret that was pasted in: it is not repeated.
		return Value{}, fmt.Errorf("secret reference of an unknown scheme: write scheme:name, with one of %s", strings.Join(rs.schemes(), ", "))
	}
	v, err := r.Resolve(ctx, rest)
	if err != nil {
		return Value{}, fmt.Errorf("secret %s: %w", ref, err)
	}
	return v, nil
}
