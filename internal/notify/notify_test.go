package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
)

func TestRoutes(t *testing.T) {
	r := New([]config.Notify{
		{On: []string{Held, Failed}, To: "slack:#ops"},
		{On: []string{Failed}, To: "env:PAGER", Environments: []string{"*-prod"}},
		{On: []string{Failed}, To: "mailto:dns@example.com", Targets: []string{"zone-*", "team-a/*"}},
		{On: []string{Failed}, To: "slack:#ops", Environments: []string{"dns-prod"}}, // the same address again
		{To: "https://hooks.example.com/x"},                                          // everything
	}, nil)
	for name, c := range map[string]struct {
		m    Message
		want []string
	}{
		"held":            {Message{Kind: Held, Target: "infra/web", Environment: "linux"}, []string{"0-slack", "4-https"}},
		"other kind":      {Message{Kind: Stale}, []string{"4-https"}},
		"by environment":  {Message{Kind: Failed, Target: "infra/web", Environment: "linux-prod"}, []string{"0-slack", "1-env", "4-https"}},
		"by name":         {Message{Kind: Failed, Target: "infra/zone-a@dns", Environment: "dns"}, []string{"0-slack", "2-mailto", "4-https"}},
		"by id":           {Message{Kind: Failed, Target: "team-a/x", Environment: "dns"}, []string{"0-slack", "2-mailto", "4-https"}},
		"once an address": {Message{Kind: Failed, Target: "infra/web", Environment: "dns-prod"}, []string{"0-slack", "1-env", "4-https"}},
	} {
		var got []string
		for _, d := range r.Routes(c.m) {
			s := strings.NewReplacer("notify[", "", "]", "").Replace(d.To)
			got = append(got, s[:strings.LastIndex(s, "-")])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What goes into the outbox holds no address, and keys tell routes apart.
func TestDeliveryHoldsNoSecret(t *testing.T) {
	r := New([]config.Notify{
		{To: "slack://xoxb:canary-token@C123"}, {To: "https://hooks.example.com/services/canary"}, {To: "canary-without-a-scheme"},
		{To: "smtp://u:canary@mail/?from=a@b&to=c@d"},
	}, nil)
	seen := map[string]bool{}
	for _, d := range r.Routes(Message{Kind: Held, Target: "infra/web", Run: "r1", Key: "held/infra/web/h1"}) {
		b, err := json.Marshal(d)
		if err != nil || strings.Contains(string(b)+d.Key(), "canary") {
			t.Errorf("%s %s %v", b, d.Key(), err)
		}
		seen[d.Key()] = true
	}
	if len(seen) != 4 {
		t.Errorf("keys: %v", seen)
	}
}

// A delivery that waited over a change of the configuration finds its own
// route or none.
func TestRouteChanged(t *testing.T) {
	old := New([]config.Notify{{On: []string{Held}, To: "slack:#ops"}}, nil)
	d := old.Routes(Message{Kind: Held})[0]
	changed := New([]config.Notify{{On: []string{Held}, To: "slack:#all"}}, nil)
	err := changed.Send(t.Context(), d)
	if err == nil || Retryable(err) || !strings.Contains(err.Error(), "no longer configured") {
		t.Errorf("%v", err)
	}
}

// Nothing in a route's name comes from a secret address, not even its hash.
func TestIdentityWithoutSecret(t *testing.T) {
	a := identity(0, config.Notify{On: []string{Held}, To: "slack://xoxb:one@C123"})
	b := identity(0, config.Notify{On: []string{Held}, To: "slack://xoxb:two@C123"})
	if c := identity(0, config.Notify{On: []string{Failed}, To: "slack://xoxb:one@C123"}); a != b || a == c {
		t.Errorf("%s %s %s", a, b, c)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		glob, s string
		want    bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"a*", "abc", true}, {"*c", "abc", true}, {"a?c", "abc", true},
		{"a?c", "ac", false}, {"*a*b*", "xxaxxbxx", true}, {"*a*b", "xxaxxbxx", false}, {"infra/*", "infra/a/b", true}, {"abc", "ABC", false},
		{strings.Repeat("*a", 30) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := glob(c.glob, c.s); got != c.want {
			t.Errorf("%q %q: %v", c.glob, c.s, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Setenv(slackToken, "xoxb-123456789-123456789-canarycanarycanary012345")
	t.Setenv(smtpURL, "smtp://user:canary@mail.example.com:587/?from=trueup@example.com")
	t.Setenv("NOTIFY_FULL", "telegram://canary@telegram?chats=1\n")
	t.Setenv("NOTIFY_SHORT", "slack:#deploys")
	t.Setenv("NOTIFY_LOOP", "env:NOTIFY_LOOP")
	t.Setenv("NOTIFY_EMPTY", "")
	r := New(nil, secret.Resolvers{"env": secret.Env{}})
	for to, want := range map[secret.Ref]string{
		"slack:#ops":                       "slack slack://xoxb:123456789-123456789-canarycanarycanary012345@ops",
		"env:NOTIFY_SHORT":                 "slack slack://xoxb:123456789-123456789-canarycanarycanary012345@deploys",
		"env:NOTIFY_FULL":                  "telegram telegram://canary@telegram?chats=1",
		"mailto:ops@example.com":           "smtp smtp://user:canary@mail.example.com:587/?from=trueup%40example.com&to=ops%40example.com",
		"https://hooks.example.com/canary": "webhook https://hooks.example.com/canary",
		"generic+https://hooks.example/c":  "generic generic+https://hooks.example/c",
	} {
		a, err := r.address(t.Context(), to)
		if got := a.kind + " " + a.url; err != nil || got != want || a.webhook != (a.kind == "webhook") {
			t.Errorf("%s: %q, %v, want %q", to, got, err, want)
		}
	}
	for _, to := range []secret.Ref{"env:NOTIFY_LOOP", "env:NOTIFY_EMPTY", "env:NOTIFY_UNSET", "canary", "pigeon:canary", "teams:", ""} {
		if a, err := r.address(t.Context(), to); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", to, a.kind, err)
		}
	}
}

func TestTexts(t *testing.T) {
	m := Message{Kind: Held, Target: "infra/web", Environment: "prod", Text: "would delete <!channel> & @everyone", Run: "r1",
		URL: "https://trueup/runs/r1", Fields: map[string]string{"commit": "abc", "author": "eve"}}
	slack, _ := render("slack", m)
	if want := "[trueup] held: infra/web in prod\nwould delete &lt;!channel&gt; &amp; @everyone\nauthor: eve\ncommit: abc\nrun: r1\nhttps://trueup/runs/r1"; slack != want {
		t.Errorf("%q", slack)
	}
	if text, _ := render("discord", m); strings.Contains(text, "@everyone") {
		t.Errorf("%q calls everyone", text)
	}
	m.Target = "x\r\nBcc: eve@example.com\r\n\r\nb\u00f6se"
	_, p := render("smtp", m)
	if title := p["title"]; strings.ContainsAny(title, "\r\n") || !strings.HasPrefix(title, "=?utf-8?q?") {
		t.Errorf("%q", title)
	}
}

// Nothing of what a service or an address says gets into an error.
func TestClassify(t *testing.T) {
	for text, want := range map[string]string{
		`Post "https://hooks/canary": dial tcp 1.2.3.4:443: connect: connection refused`: "again: connection refused",
		`Post "https://hooks/canary": dial tcp: lookup canary: no such host`:             "again: no such host",
		"server returned unexpected response status code: 404 Not Found":                 "never: answered 404 Not Found",
		"server returned unexpected response status code: 429 Too Many Requests":         "again: answered 429 Too Many Requests",
		`got unexpected HTTP status: "503 Service Unavailable" canary`:                   "again: answered 503 Service Unavailable",
		"failed: api response: channel_not_found":                                        "never: refused: channel_not_found",
		"error: ratelimited":                 "again: refused: ratelimited",
		"canary 404 Canary":                  "again: failed",
		"x509: certificate signed by canary": "again: the certificate is not trusted",
	} {
		err := classify("any", fmt.Errorf("wrapped: %s", text))
		got := "never: "
		if Retryable(err) {
			got = "again: "
		}
		if got += strings.TrimPrefix(err.Error(), "notify through any: "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if classify("any", nil) != nil || Retryable(nil) {
		t.Error("no error became one")
	}
	if err := classify("smtp", fmt.Errorf("failed: 535 5.7.8 canary")); Retryable(err) || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}
