package ssh

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func publicKey(t *testing.T) (xssh.PublicKey, string) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := xssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(xssh.MarshalAuthorizedKey(key)))
}

// keysPart is what a host says about a user's keys.
func keysPart(content, sum string) []byte {
	return fmt.Appendf(nil, "5\n/none\ny\n%s\n.\nf\n81a4 0 0 - - %d 1:2 3 4\n%s  x\n", base64.StdEncoding.EncodeToString([]byte(content)), len(content), sum)
}

func sumOf(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// TestOurOwnKeyStays: the key that logs in is not taken away from the user who
// logs in; from others it may be.
func TestOurOwnKeyStays(t *testing.T) {
	ours, ourLine := publicKey(t)
	_, other := publicKey(t)
	key, err := canonicalKey(other)
	if err != nil {
		t.Fatal(err)
	}
	const user = "trueup-none"
	content := "# people\n" + ourLine + " trueup\n"
	write := func(login string, keys ...string) error {
		w := &writer{script: newScript(), ids: map[plan.Key]int{}, host: &host{
			t:      &remote{target: &client.Target{User: login}, keys: []xssh.PublicKey{ours}},
			answer: &answer{parts: map[string][]byte{"keys." + user: keysPart(content, sumOf(content))}}}}
		st := &keysState{Keys: []string{key}, lines: []string{other}}
		for _, k := range keys {
			c, err := canonicalKey(k)
			if err != nil {
				t.Fatal(err)
			}
			st.Keys, st.lines = append(st.Keys, c), append(st.lines, k)
		}
		o := &object{Kind: kindKeys, Address: "keys:" + user, State: st}
		it := item{Key: plan.Key{Address: o.Address}, Kind: kindKeys, Value: o}
		writeKeys(w, user, []step{{New: &it, Change: plan.Change{Key: it.Key, Kind: kindKeys}}})
		// There is no such user here, so that nothing is written either way.
		out, err := runScript(t.Context(), &local{}, w.script, false, maxAnswer)
		return outcomes(out, w.nonce, 1, err)[0]
	}
	if err := write(user); err == nil || !strings.Contains(err.Error(), "logs in") {
		t.Errorf("our own key may go: %v", err)
	}
	for name, err := range map[string]error{"it stays": write(user, ourLine), "another user's": write("root")} {
		if err == nil || !strings.Contains(err.Error(), "no user") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeysThatWereCutShort: content that is not what its sum says is no
// content; the keys that it lacks would be lost.
func TestKeysThatWereCutShort(t *testing.T) {
	_, a := publicKey(t)
	_, b := publicKey(t)
	whole := a + "\n" + b + "\n"
	for _, content := range []string{"", a + "\n"} {
		if f, err := keysOf(&answer{parts: map[string][]byte{"keys.x": keysPart(content, sumOf(whole))}}, "x"); err == nil {
			t.Errorf("%d keys of 2 are taken for all", len(f.lines))
		}
	}
	f, err := keysOf(&answer{parts: map[string][]byte{"keys.x": keysPart(whole, sumOf(whole))}}, "x")
	if err != nil || len(f.lines) != 2 {
		t.Errorf("%v %+v", err, f)
	}
}

// TestWhoLogsInStays: sudo makes us root, but the user who logs in is as
// needed as root is.
func TestWhoLogsInStays(t *testing.T) {
	h := &host{facts: &Facts{User: "root", Login: "deploy"}, spec: &Spec{}}
	owned := driver.Owned{Key: plan.Key{Address: "user:deploy"}, Kind: kindUser}
	if o := (userKind{}).leave(h, owned); o != nil {
		t.Errorf("it would be disabled: %+v", o.State)
	}
	a := &answer{facts: h.facts, parts: map[string][]byte{"accounts": []byte("u deploy:x:1000:1000::/home/deploy:/bin/sh\nu other:x:1001:1001::/:/bin/sh\n")}}
	found, err := (userKind{}).observe(a, []subject{{address: "user:deploy", kind: kindUser}, {address: "user:other", kind: kindUser}})
	if err != nil || len(found) != 1 || found[0].Address != "user:other" {
		t.Errorf("%v %+v", err, found)
	}
	h.answer = a
	for name, st := range map[string]step{
		"removed":  {Old: &item{Value: &object{State: &userState{}}}},
		"disabled": {New: &item{Value: &object{State: &userState{Disabled: true}}}},
	} {
		st.Change = plan.Change{Key: owned.Key, Kind: kindUser}
		w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{}}
		(userKind{}).write(w, []step{st})
		if !strings.Contains(w.String(), "are never "+name) || strings.Contains(w.String(), "userdel") || strings.Contains(w.String(), "usermod") {
			t.Errorf("it may be %s: %s", name, w.String())
		}
	}
}
