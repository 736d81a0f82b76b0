package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"trueup.dev/trueup/internal/driver"
)

const (
	sendTime = 30 * time.Second
	// maxSending bounds sends under way, also those that hang although nobody
	// waits for them any more: the library can't be told to stop.
	maxSending = 32
)

// failure is an error about a delivery in words of our own.
type failure struct{ kind, text string }

func (f failure) Error() string { return "notify through " + f.kind + ": " + f.text }

func gone(route string) error {
	return driver.Permanent(fmt.Errorf("notify: route %s is no longer configured", route))
}

// shout sends through the shoutrrr library.
func (r *Router) shout(ctx context.Context, a address, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	select {
	case r.sending <- struct{}{}:
	case <-ctx.Done():
		return failure{a.kind, "too many messages wait for an answer"}
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-r.sending }()
		done <- deliver(a, m)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return failure{a.kind, "no answer in time"}
	}
}

func deliver(a address, m Message) (err error) {
	defer func() {
		if recover() != nil {
			err = driver.Permanent(failure{a.kind, "the address made the library panic"})
		}
	}()
	var sr router.ServiceRouter
	sr.SetLogger(log.New(io.Discard, "", 0))
	service, err := sr.Locate(a.url)
	switch {
	case errors.Is(err, router.ErrUnknownService):
		return driver.Permanent(failure{a.kind, "there is no service of this name"})
	case err != nil && a.kind == "matrix":
		// It logs in while it is set up, so the reason may pass.
		return failure{a.kind, "the address or the login was refused, or the server is away"}
	case err != nil:
		return driver.Permanent(failure{a.kind, "the address is not one that this service takes"})
	}
	text, params := render(a.kind, m)
	return classify(a.kind, service.Send(text, &params))
}

// postWebhook posts the message itself as JSON.
func postWebhook(ctx context.Context, a address, d Delivery) error {
	body, err := json.Marshal(d.Message)
	if err != nil {
		return driver.Permanent(failure{a.kind, "the message can't be encoded"})
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return driver.Permanent(failure{a.kind, "the address is no URL"})
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "trueup")
	req.Header.Set("Idempotency-Key", strconv.Quote(d.Key()))
	// A redirect would carry the message to where nobody configured it.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return classify(a.kind, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return answered(a.kind, resp.StatusCode)
}

// answered judges a status: what the other side will refuse again is permanent.
func answered(kind string, status int) error {
	err := failure{kind, fmt.Sprintf("answered %d %s", status, http.StatusText(status))}
	again := []int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}
	if status >= 500 || slices.Contains(again, status) {
		return err
	}
	return driver.Permanent(err)
}

// status finds "404 Not Found" and the like: services give text, not types.
var status = regexp.MustCompile(`\b([1345]\d\d)\b[ "]*([A-Z][A-Za-z' -]+)`)

// refusal are answers in words, of Slack and of mail servers, that say more
// than "failed"; they hold nothing of the address.
var refusal = regexp.MustCompile(`\b(channel_not_found|not_in_channel|is_archived|invalid_auth|not_authed|account_inactive|token_revoked|token_expired|missing_scope|no_permission|invalid_token|no_service|rate_limited|ratelimited)\b`)

// smtpCode is the code of a mail server's answer.
var smtpCode = regexp.MustCompile(`(?:^|: )([45]\d\d) `)

// classify says in words of our own what went wrong, so that nothing of the
// address or the answer gets out.
func classify(kind string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if f, ok := ofConnection(kind, err, text); ok {
		return f
	}
	if m := refusal.FindString(text); m != "" {
		return sorted(strings.HasPrefix(m, "rate"), failure{kind, "refused: " + m})
	}
	if m := status.FindStringSubmatch(text); m != nil {
		code, _ := strconv.Atoi(m[1])
		if strings.EqualFold(strings.TrimSpace(m[2]), http.StatusText(code)) {
			return answered(kind, code)
		}
	}
	if m := smtpCode.FindStringSubmatch(text); kind == "smtp" && m != nil {
		return sorted(m[1][0] == '4', failure{kind, "the mail server answered " + m[1]})
	}
	return failure{kind, "failed"}
}

// ofConnection recognises what kept the other side from answering; all of it
// may pass. Some services keep the error's chain, some its text alone.
func ofConnection(kind string, err error, text string) (error, bool) {
	var timeout net.Error
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "deadline exceeded"), strings.Contains(text, "i/o timeout"):
		return failure{kind, "no answer in time"}, true
	case errors.Is(err, context.Canceled):
		return failure{kind, "cancelled"}, true
	case strings.Contains(text, "connection refused"):
		return failure{kind, "connection refused"}, true
	case strings.Contains(text, "no such host"):
		return failure{kind, "no such host"}, true
	case errors.As(err, &authority), strings.Contains(text, "x509: "):
		return failure{kind, "the certificate is not trusted"}, true
	case strings.Contains(text, "EOF"), strings.Contains(text, "connection reset"):
		return failure{kind, "the connection broke off"}, true
	}
	return nil, false
}

// sorted makes an error permanent unless it may pass.
func sorted(passes bool, f failure) error {
	if passes {
		return f
	}
	return driver.Permanent(f)
}

// render makes the text of a message, and a title where the service has one.
func render(kind string, m Message) (string, types.Params) {
	title := oneLine(Title(m))
	var b strings.Builder
	b.WriteString(m.Text)
	for _, k := range sortedKeys(m.Fields) {
		fmt.Fprintf(&b, "\n%s: %s", k, m.Fields[k])
	}
	if m.Run != "" {
		b.WriteString("\nrun: " + m.Run)
	}
	if m.URL != "" {
		b.WriteString("\n" + m.URL)
	}
	text := b.String()
	switch kind {
	case "smtp":
		return text + "\n", types.Params{"title": encodedWord(title)}
	case "generic":
		return text, types.Params{"title": title}
	case "slack":
		return slackEscape.Replace(title + "\n" + text), types.Params{}
	}
	return quiet.Replace(title + "\n" + text), types.Params{}
}
