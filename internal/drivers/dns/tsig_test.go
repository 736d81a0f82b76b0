package dns

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// Our signatures are good for the library, and the library's for us; a changed
// byte, another key, an old or a missing signature are refused.
func TestTSIG(t *testing.T) {
	secret := []byte("a secret of thirty-two bytes----")
	text := base64.StdEncoding.EncodeToString(secret)
	k, err := newTSIGKey("Key.Example", "hmac-sha512", secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	msg, err := newQuery(7, "example.com.", mdns.TypeSOA, mdns.ClassINET)
	if err != nil {
		t.Fatal(err)
	}
	signed, mac := k.sign(msg, now)
	if err := mdns.TsigVerify(append([]byte(nil), signed...), text, "", false); err != nil {
		t.Errorf("the library refuses our signature: %v", err)
	}
	m := new(mdns.Msg)
	m.SetQuestion("example.com.", mdns.TypeSOA)
	m.Id = 7
	m.Response = true
	m.SetTsig("key.example.", mdns.HmacSHA512, 300, now.Unix())
	answer, _, err := mdns.TsigGenerate(m, text, hexOf(mac), false)
	if err != nil {
		t.Fatal(err)
	}
	check := func(msg []byte, key *tsigKey, at time.Time) error {
		v := verifier{key: key, prior: mac}
		_, err := v.check(append([]byte(nil), msg...), at)
		return err
	}
	if err := check(answer, k, now); err != nil {
		t.Errorf("we refuse the library's signature: %v", err)
	}
	for i := 12; i < len(answer)-6; i += 7 {
		bad := append([]byte(nil), answer...)
		bad[i] ^= 0x11
		if check(bad, k, now) == nil {
			t.Errorf("byte %d changed, and the signature is taken", i)
		}
	}
	other, err := newTSIGKey("key.example", "hmac-sha512", []byte("another"))
	if err != nil {
		t.Fatal(err)
	}
	if check(answer, other, now) == nil || check(answer, k, now.Add(time.Hour)) == nil {
		t.Error("another key, or an old signature, is taken")
	}
	if err := check(msg[:len(msg):len(msg)], k, now); err == nil {
		t.Error("an unsigned answer is taken")
	}
	v := verifier{key: k, prior: mac, messages: 1}
	plain, _ := newQuery(8, "example.com.", mdns.TypeSOA, mdns.ClassINET)
	if _, err := v.check(plain, now); err != nil || !errors.Is(v.end(), errTSIG) {
		t.Errorf("a transfer that ends unsigned: %v, %v", err, v.end())
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}
