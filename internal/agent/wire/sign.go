package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The headers of a signed call.
const (
	headerHost      = "Trueup-Agent"
	headerTime      = "Trueup-Time"
	headerNonce     = "Trueup-Nonce"
	headerSignature = "Trueup-Signature"
	headerBoot      = "Trueup-Boot"
)

// Call is who says to make a call, before it is believed.
type Call struct {
	Host, Nonce, Boot string
	At                time.Time
	signature         []byte
}

// ErrUnsigned says that a call is not signed in a way that can be checked.
var ErrUnsigned = errors.New("the call is not signed")

// callText is what an agent signs: everything that a call consists of.
func callText(c Call, method, path string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "trueup agent call v1\n%q %q\n%q\n%d\n%q\n%q\n%x\n", method, path, c.Host, c.At.Unix(), c.Nonce, c.Boot, sum)
}

// SignCall signs a call with the agent's key.
func SignCall(r *http.Request, key ed25519.PrivateKey, host, boot string, body []byte, now time.Time) {
	c := Call{Host: host, Nonce: rand.Text(), Boot: boot, At: now}
	sig := ed25519.Sign(key, callText(c, r.Method, r.URL.Path, body))
	r.Header.Set(headerHost, host)
	r.Header.Set(headerTime, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(headerNonce, c.Nonce)
	r.Header.Set(headerBoot, boot)
	r.Header.Set(headerSignature, base64.StdEncoding.EncodeToString(sig))
}

// maxName bounds names of hosts, nonces and boots.
const maxName = 253

// ReadCall takes the headers apart. Nothing in it is believed before Check.
func ReadCall(h http.Header) (Call, error) {
	c := Call{Host: h.Get(headerHost), Nonce: h.Get(headerNonce), Boot: h.Get(headerBoot)}
	for _, s := range []string{c.Host, c.Nonce, c.Boot} {
		if s == "" || len(s) > maxName {
			return c, ErrUnsigned
		}
	}
	at, err := strconv.ParseInt(h.Get(headerTime), 10, 64)
	if err != nil {
		return c, ErrUnsigned
	}
	c.At = time.Unix(at, 0)
	c.signature, err = base64.StdEncoding.DecodeString(h.Get(headerSignature))
	if err != nil || len(c.signature) != ed25519.SignatureSize {
		return c, ErrUnsigned
	}
	return c, nil
}

// Check tells whether the owner of the key made this very call.
func (c Call) Check(key ed25519.PublicKey, r *http.Request, body []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, callText(c, r.Method, r.URL.Path, body), c.signature)
}

// InWindow tells whether the call is from about now.
func (c Call) InWindow(now time.Time) bool {
	d := now.Sub(c.At)
	return d < Window && d > -Window
}

// TokenHash is how a token is kept.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte("trueup agent token\x00" + token))
	return hex.EncodeToString(sum[:])
}

// proofText is what shows that somebody holds the key being registered.
func proofText(host, purpose string, key []byte) []byte {
	return fmt.Appendf(nil, "trueup agent key v1\n%q\n%q\n%x\n", host, purpose, key)
}

// Prove shows that the key is held. purpose is the token's hash or "renew".
func Prove(key ed25519.PrivateKey, host, purpose string) []byte {
	return ed25519.Sign(key, proofText(host, purpose, key.Public().(ed25519.PublicKey)))
}

// Proven checks a proof.
func Proven(key []byte, host, purpose string, proof []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, proofText(host, purpose, key), proof)
}

// Envelope is a request as the server signed it.
type Envelope struct {
	Payload   []byte `json:"payload"`
	Signature []byte `json:"signature"`
}

func envelopeText(payload []byte) []byte {
	return append([]byte("trueup agent request v1\n"), payload...)
}

// Seal signs a request with the server's key.
func Seal(key ed25519.PrivateKey, r *Request) (*Envelope, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return &Envelope{Payload: payload, Signature: ed25519.Sign(key, envelopeText(payload))}, nil
}

// Open gives the request of an envelope that the server signed for this host.
func (e *Envelope) Open(key ed25519.PublicKey, host string) (*Request, error) {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, envelopeText(e.Payload), e.Signature) {
		return nil, errors.New("the request is not signed by the server that this agent is enrolled with")
	}
	var r Request
	if err := json.Unmarshal(e.Payload, &r); err != nil {
		return nil, fmt.Errorf("the request can't be read: %w", err)
	}
	if r.Host != host {
		return nil, fmt.Errorf("the request is for host %q, this is %q", r.Host, host)
	}
	return &r, nil
}
