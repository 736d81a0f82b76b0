package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
)

const canary = "canary0123456789"

var held300 = Message{Kind: Held, Target: "infra/zone", Environment: "dns-public", Run: "r17", Key: "held/zone/h1",
	Text: "would delete 300 records, the guard allows 10", Fields: map[string]string{"commit": "abc"}}

// send sends the message to one address.
func send(ctx context.Context, t *testing.T, to string) error {
	t.Helper()
	r := New([]config.Notify{{To: secret.Ref(to)}}, secret.Resolvers{"env": secret.Env{}})
	d := r.Routes(held300)
	if len(d) != 1 {
		t.Fatalf("%d deliveries", len(d))
	}
	err := r.Send(ctx, d[0])
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
		t.Errorf("the error shows the address: %v", err)
	}
	return err
}

// receiver records what was posted and answers with a status.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	body   string
	header http.Header
	path   string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.body, r.header, r.path = string(b), q.Header, q.URL.Path
		if r.status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(r.status)
		fmt.Fprintf(w, "you sent %s", q.URL)
	}))
	t.Cleanup(r.Close)
	return r
}

func TestWebhook(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("HOOK", r.URL+"/hook/"+canary)
	for _, to := range []string{r.URL + "/hook/" + canary, "env:HOOK"} {
		if err := send(t.Context(), t, to); err != nil {
			t.Fatal(err)
		}
		var got Message
		if err := json.Unmarshal([]byte(r.body), &got); err != nil || got.Text != held300.Text || got.Fields["commit"] != "abc" || r.path != "/hook/"+canary {
			t.Errorf("%s %s %v", r.path, r.body, err)
		}
		if key := r.header.Get("Idempotency-Key"); !strings.Contains(key, "held/zone/h1") || strings.Contains(key, canary) {
			t.Errorf("key %q", key)
		}
	}
	for status, retry := range map[int]bool{400: false, 401: false, 404: false, 410: false, 302: false, 408: true, 429: true, 500: true, 503: true} {
		r.status = status
		err := send(t.Context(), t, r.URL+"/hook/"+canary)
		if err == nil || Retryable(err) != retry || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v, retryable %v", status, err, Retryable(err))
		}
		if r.path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
	}
	r.Close()
	if err := send(t.Context(), t, r.URL+"/hook/"+canary); !Retryable(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
}

// The library's own webhook service.
func TestGeneric(t *testing.T) {
	r := newReceiver(t)
	to := "generic+" + r.URL + "/hook/" + canary + "?template=json"
	if err := send(t.Context(), t, to); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || !strings.Contains(got["message"], held300.Text) || got["title"] != "[trueup] held: infra/zone in dns-public" {
		t.Errorf("%s %v", r.body, err)
	}
	for status, retry := range map[int]bool{404: false, 503: true} {
		r.status = status
		if err := send(t.Context(), t, to); err == nil || Retryable(err) != retry || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	r.Close()
	if err := send(t.Context(), t, to); !Retryable(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
}

// A receiver that never answers holds up nobody for long.
func TestHangingReceiver(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-end:
		case <-q.Context().Done():
		}
	}))
	defer s.Close()
	defer close(end)
	for _, to := range []string{s.URL + "/" + canary, "generic+" + s.URL + "/" + canary} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		err := send(ctx, t, to)
		cancel()
		if !Retryable(err) || !strings.Contains(err.Error(), "no answer in time") || time.Since(start) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	}
}

// Whatever is wrong with an address, the error shows nothing of it.
func TestBadAddresses(t *testing.T) {
	for _, to := range []string{
		"nosuch://" + canary + "@host", "slack://" + canary + "@ops", "telegram://" + canary, "discord://" + canary,
		"teams://" + canary, "smtp://u:" + canary + "@127.0.0.1:1/?from=a@example.com", "generic://%zz" + canary, "http://%zz" + canary,
		"pagerduty:///" + canary, "gotify://127.0.0.1:1/" + canary, "generic+http://127.0.0.1:1/" + canary + "?template=" + canary,
		"matrix://u:" + canary + "@127.0.0.1:1", "ntfy://u:" + canary + "@127.0.0.1:1/topic", "rocketchat://127.0.0.1:1/" + canary + "/" + canary,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := send(ctx, t, to); err == nil {
			t.Errorf("%s was accepted", to)
		} else {
			t.Logf("%-60s %v", to, err)
		}
		cancel()
	}
}

// mailServer takes mail by the book (RFC 5321) from one user, and keeps it.
type mailServer struct {
	net.Listener
	mu    sync.Mutex
	mails []string
	rcpts []string
	deny  string // answer to RCPT
}

func newMailServer(t *testing.T) *mailServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(c)
		}
	}()
	return s
}

func (s *mailServer) talk(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(l string) { fmt.Fprintf(c, "%s\r\n", l) }
	say("220 mail.test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.Fields(line + " x")[0])
		switch verb {
		case "EHLO":
			say("250-mail.test")
			say("250 AUTH PLAIN")
		case "AUTH":
			// The user is ops and the password is the canary.
			if strings.TrimSpace(line) != "AUTH PLAIN AG9wcwBjYW5hcnkwMTIzNDU2Nzg5" {
				say("535 5.7.8 " + strings.TrimSpace(line))
				continue
			}
			say("235 ok")
		case "RCPT":
			s.mu.Lock()
			deny := s.deny
			s.rcpts = append(s.rcpts, strings.TrimSpace(line))
			s.mu.Unlock()
			if deny != "" {
				say(deny)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestMail(t *testing.T) {
	s := newMailServer(t)
	base := "smtp://ops:" + canary + "@" + s.Addr().String() + "/?from=trueup@example.com"
	t.Setenv(smtpURL, base)
	for _, to := range []string{base + "&to=dns@example.com", "mailto:dns@example.com"} {
		s.mails = nil
		if err := send(t.Context(), t, to); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		if len(s.mails) != 1 || !strings.Contains(s.mails[0], held300.Text) || !strings.Contains(s.mails[0], "Subject: [trueup] held: infra/zone in dns-public\r\n") || strings.Contains(s.mails[0], canary) {
			t.Errorf("%q", s.mails)
		}
		if last := s.rcpts[len(s.rcpts)-1]; last != "RCPT TO:<dns@example.com>" {
			t.Errorf("%s", last)
		}
		s.mu.Unlock()
	}
	for deny, retry := range map[string]bool{"550 no such user " + canary: false, "451 try later " + canary: true} {
		s.deny = deny
		err := send(t.Context(), t, base+"&to=dns@example.com")
		if err == nil || Retryable(err) != retry || !strings.Contains(err.Error(), "answered "+deny[:3]) {
			t.Errorf("%s: %v, retryable %v", deny, err, Retryable(err))
		}
	}
	// The server repeats the password, which must not get out.
	wrong := strings.Replace(base, canary, canary+"x", 1)
	if err := send(t.Context(), t, wrong+"&to=dns@example.com"); err == nil || Retryable(err) || !strings.Contains(err.Error(), "535") {
		t.Errorf("%v", err)
	}
	s.Close()
	if err := send(t.Context(), t, base+"&to=dns@example.com"); !Retryable(err) {
		t.Errorf("%v", err)
	}
}
