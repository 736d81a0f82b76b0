package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/forgetest"
)

// deliver sends an event as the forge would.
func (w *world) deliver(ev forge.Event, key string, more ...string) int {
	w.t.Helper()
	h, body := forgetest.Sign(ev, key)
	header := append([]string{forgetest.SignatureHeader, h.Get(forgetest.SignatureHeader), forgetest.DeliveryHeader, ev.Delivery}, more...)
	status, _ := w.ask("POST", "/webhook/forged", "", string(body), header...)
	return status
}

func TestDeliveriesOfAForge(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		ev     forge.Event
		key    string
		status int
		did    string
	}{
		{"push", forge.Event{Kind: forge.Pushed, Delivery: "1"}, canary + "-1", 202, "poll webhook:forged forged"},
		{"pull request, second secret", forge.Event{Kind: forge.PullChanged, Number: 7, Delivery: "2"}, canary + "-2", 202, "event forged pull 7"},
		{"comment", forge.Event{Kind: forge.Commented, Number: 7, Delivery: "3"}, canary + "-1", 202, "event forged comment 7"},
		{"replay", forge.Event{Kind: forge.Commented, Number: 7, Delivery: "3"}, canary + "-1", 202, ""},
		{"unknown kind", forge.Event{Kind: forge.Ignored, Delivery: "4"}, canary + "-1", 200, ""},
		{"ping", forge.Event{Kind: forge.Ping, Delivery: "5"}, canary + "-1", 200, ""},
		{"wrong key", forge.Event{Kind: forge.Pushed, Delivery: "6"}, "guess", 401, ""},
		{"empty key", forge.Event{Kind: forge.Pushed, Delivery: "7"}, "", 401, ""},
	} {
		before := len(w.actions.list())
		status := w.deliver(c.ev, c.key)
		did := strings.Join(w.actions.list()[before:], "; ")
		if status != c.status || did != c.did {
			t.Errorf("%s: %d, did %q", c.name, status, did)
		}
	}
	// trueup's own signature goes on working beside the forge's.
	if status, _ := w.ask("POST", "/webhook/forged", "", "{}", "X-Trueup-Signature", sign(canary+"-1", "{}")); status != 202 {
		t.Errorf("own signature: %d", status)
	}
	if status, _ := w.ask("POST", "/webhook/forged", "", "{}", "X-Hub-Signature-256", sign(canary+"-1", "{}")); status != 401 {
		t.Errorf("another forge's signature: %d", status)
	}
	body := "\x00 garbage"
	if status, text := w.ask("POST", "/webhook/forged", "", body, forgetest.SignatureHeader, strings.TrimPrefix(sign(canary+"-1", body), "sha256=")); status != 400 || strings.Contains(text, canary) {
		t.Errorf("garbage: %d %s", status, text)
	}
	if strings.Contains(w.log.String(), canary) {
		t.Error("a secret is in the log")
	}
}

// A body that does not come is given up, and so is one that is too large,
// before anything is looked at.
func TestSlowAndLargeBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /webhook/forged HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
	if err := c.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	answer, err := io.ReadAll(c)
	if took := time.Since(begin); err != nil || !strings.Contains(string(answer), " 408 ") || took > 25*time.Second {
		t.Errorf("after %s: %q %v", took, answer, err)
	}
	req, err := http.NewRequest("POST", w.url+"/webhook/forged", strings.NewReader(strings.Repeat("x", maxHook+1)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", resp.StatusCode)
	}
	if n := len(w.actions.list()); n != 0 {
		t.Errorf("something was done: %v", w.actions.list())
	}
}

// Only so many deliveries are read at once, so that senders without a secret
// can't fill the memory.
func TestDeliveriesAtOnceAreBounded(t *testing.T) {
	w := newWorld(t)
	for range maxHooks {
		w.server.hooks <- struct{}{}
	}
	if s := w.deliver(forge.Event{Kind: forge.Pushed, Delivery: "1"}, canary+"-1"); s != 503 {
		t.Errorf("%d", s)
	}
	<-w.server.hooks
	if s := w.deliver(forge.Event{Kind: forge.Pushed, Delivery: "1"}, canary+"-1"); s != 202 {
		t.Errorf("%d", s)
	}
}
