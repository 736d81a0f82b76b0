package wire

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
)

func key(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSignatureCoversTheWholeCall changes one thing after the other.
func TestSignatureCoversTheWholeCall(t *testing.T) {
	k := key(t)
	pub := k.Public().(ed25519.PublicKey)
	body := []byte(`{"a":1}`)
	sign := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, PathPoll, nil)
		SignCall(r, k, "web1", "boot", body, time.Unix(1_700_000_000, 0))
		return r
	}
	ok := func(r *http.Request, b []byte, pub ed25519.PublicKey) bool {
		c, err := ReadCall(r.Header)
		return err == nil && c.Check(pub, r, b)
	}
	if !ok(sign(), body, pub) {
		t.Fatal("a good call is refused")
	}
	for name, change := range map[string]func(r *http.Request){
		"host":   func(r *http.Request) { r.Header.Set(headerHost, "web2") },
		"time":   func(r *http.Request) { r.Header.Set(headerTime, "1700000001") },
		"nonce":  func(r *http.Request) { r.Header.Set(headerNonce, "x") },
		"boot":   func(r *http.Request) { r.Header.Set(headerBoot, "x") },
		"path":   func(r *http.Request) { r.URL.Path = PathMessage },
		"method": func(r *http.Request) { r.Method = http.MethodPut },
	} {
		r := sign()
		change(r)
		if ok(r, body, pub) {
			t.Errorf("a call with another %s is let in", name)
		}
	}
	if ok(sign(), []byte(`{"a":2}`), pub) || ok(sign(), body, key(t).Public().(ed25519.PublicKey)) {
		t.Error("another body, or another key, is let in")
	}
}

func TestEnvelopesAreForOneHost(t *testing.T) {
	k := key(t)
	e, err := Seal(k, &Request{ID: "1", Host: "web1", Ask: driver.Ask{Op: driver.AgentPlan}})
	if err != nil {
		t.Fatal(err)
	}
	pub := k.Public().(ed25519.PublicKey)
	if r, err := e.Open(pub, "web1"); err != nil || r.Op != driver.AgentPlan {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := e.Open(pub, "web2"); err == nil {
		t.Error("another host's request is taken")
	}
	if _, err := e.Open(key(t).Public().(ed25519.PublicKey), "web1"); err == nil {
		t.Error("another server's request is taken")
	}
}

func TestFaultsKeepWhatToDoNext(t *testing.T) {
	err := FaultOf(driver.Permanent(errors.Join(errors.New("no"), driver.ErrStale))).Err("web1")
	if !driver.IsPermanent(err) || !errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "web1") {
		t.Errorf("%v", err)
	}
	if FaultOf(nil).Err("x") != nil {
		t.Error("no error became one")
	}
}

func TestUnpackIsBounded(t *testing.T) {
	bomb, err := Pack(strings.Repeat("a", 10<<20))
	if err != nil {
		t.Fatal(err)
	}
	var s string
	if err := Unpack(bomb, 1<<20, &s); err == nil {
		t.Error("ten megabytes fit into one")
	}
	if err := Unpack(bomb, 20<<20, &s); err != nil || len(s) != 10<<20 {
		t.Error(err)
	}
}

// FuzzStrangers feeds what anybody on the network may send.
func FuzzStrangers(f *testing.F) {
	f.Add("web1", "1700000000", "n", "c2ln", []byte("{}"))
	f.Fuzz(func(t *testing.T, host, at, nonce, sig string, body []byte) {
		h := http.Header{}
		h.Set(headerHost, host)
		h.Set(headerTime, at)
		h.Set(headerNonce, nonce)
		h.Set(headerBoot, "b")
		h.Set(headerSignature, sig)
		if c, err := ReadCall(h); err == nil {
			r := httptest.NewRequest(http.MethodPost, PathPoll, nil)
			if c.Check(make([]byte, ed25519.PublicKeySize), r, body) {
				t.Error("a call without a key is let in")
			}
		}
		var m Message
		_ = Unpack(body, 1<<16, &m)
		e := Envelope{Payload: body, Signature: []byte(sig)}
		if _, err := e.Open(make([]byte, ed25519.PublicKeySize), host); err == nil {
			t.Error("an envelope that nobody signed opens")
		}
	})
}
