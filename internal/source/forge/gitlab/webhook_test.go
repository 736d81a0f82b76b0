package gitlab

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/hooktest"
)

var clock = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func offline(t testing.TB) *Forge {
	f, err := Open(t.Context(), forge.Options{Project: project, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	f.(*Forge).now = func() time.Time { return clock }
	return f.(*Forge)
}

func plainToken(h http.Header, _ []byte, s string) { h.Set("X-Gitlab-Token", s) }

// standard signs as GitLab's documentation says: HMAC-SHA256, keyed with the
// bytes behind whsec_, over id, time and body.
func standard(at time.Time) hooktest.Sign {
	return func(h http.Header, body []byte, s string) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil {
			key = []byte(s)
		}
		stamp := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("msg_1." + stamp + "." + string(body)))
		h.Set("webhook-id", "msg_1")
		h.Set("webhook-timestamp", stamp)
		h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
}

const (
	signing  = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	signing2 = "whsec_MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="
)

func TestDeliveries(t *testing.T) { hooktest.Golden(t, offline(t), "testdata/webhooks") }

func TestVerify(t *testing.T) {
	f := offline(t)
	hooktest.Hostile(t, f, plainToken, "s3cret", "another")
	hooktest.Hostile(t, f, standard(clock), signing, signing2)
	hooktest.Tampered(t, f, standard(clock), signing)
	// A known answer, made with the reference implementation's example of
	// Standard Webhooks.
	body := []byte(`{"test": 2432232314}`)
	h := http.Header{"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}}
	f.now = func() time.Time { return time.Unix(1614265330, 0) }
	if err := f.Verify(h, body, []secret.Value{secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}); err != nil {
		t.Errorf("the published example: %v", err)
	}
}

func TestSignedReplay(t *testing.T) {
	f := offline(t)
	body := []byte(`{}`)
	try := func(change func(http.Header)) bool {
		h := http.Header{}
		standard(clock)(h, body, signing)
		change(h)
		return f.Verify(h, body, []secret.Value{secret.New(signing)}) == nil
	}
	for d, want := range map[time.Duration]bool{0: true, 4 * time.Minute: true, -4 * time.Minute: true, 6 * time.Minute: false, -6 * time.Minute: false, 1e6 * time.Hour: false} {
		f.now = func() time.Time { return clock.Add(d) }
		if got := try(func(http.Header) {}); got != want {
			t.Errorf("%s later: %v, want %v", d, got, want)
		}
	}
	f.now = func() time.Time { return clock }
	for name, change := range map[string]func(http.Header){
		"another id":      func(h http.Header) { h.Set("webhook-id", "msg_2") },
		"another time":    func(h http.Header) { h.Set("webhook-timestamp", strconv.FormatInt(clock.Unix()+1, 10)) },
		"no time":         func(h http.Header) { h.Del("webhook-timestamp") },
		"a huge time":     func(h http.Header) { h.Set("webhook-timestamp", "9223372036854775807") },
		"no id":           func(h http.Header) { h.Del("webhook-id") },
		"another version": func(h http.Header) { h.Set("webhook-signature", "v2"+h.Get("webhook-signature")[2:]) },
		"the token":       func(h http.Header) { h.Del("webhook-signature"); h.Set("X-Gitlab-Token", signing) },
	} {
		if try(change) {
			t.Errorf("%s is accepted", name)
		}
	}
	if !try(func(h http.Header) { h.Set("webhook-signature", "v1,AAAA v9,x "+h.Get("webhook-signature")) }) {
		t.Error("a second signature, while the token is being changed, is refused")
	}
	if try(func(h http.Header) {
		h.Set("webhook-signature", strings.Repeat("v1,AAAA ", 100)+h.Get("webhook-signature"))
	}) {
		t.Error("the number of signatures has no bound")
	}
}

func TestLyingDeliveries(t *testing.T) {
	f := offline(t)
	for _, c := range []struct{ event, body string }{
		{"Push Hook", `{"object_kind":"merge_request"}`}, {"Push Hook", `{`}, {"Push Hook", `[]`},
		{"Merge Request Hook", `{"object_kind":"merge_request"}`}, {"Merge Request Hook", `{"object_kind":"merge_request","object_attributes":{"iid":-4}}`},
		{"Merge Request Hook", `{"object_kind":"merge_request","object_attributes":{"iid":1e99}}`},
		{"Note Hook", `{"object_kind":"note","object_attributes":{"noteable_type":"MergeRequest"},"merge_request":{"iid":0}}`},
	} {
		if e, err := f.Parse(http.Header{"X-Gitlab-Event": {c.event}}, []byte(c.body)); err == nil {
			t.Errorf("%s %s gives %+v", c.event, c.body, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	hooktest.Fuzz(f, offline(f), "testdata/webhooks", "X-Gitlab-Event", "Push Hook", "Merge Request Hook", "Note Hook", "Pipeline Hook")
}

// FuzzVerify looks for headers that get in without the secret.
func FuzzVerify(f *testing.F) {
	g := offline(f)
	f.Add("msg_1", "1795168800", "v1,AAAA", "x", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, at, sig, tok string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {sig}, "X-Gitlab-Token": {tok}}
		if g.Verify(h, body, []secret.Value{secret.New(signing), secret.New(""), secret.New("a long secret that nobody guesses 8472")}) == nil {
			t.Error("it got in")
		}
	})
}
