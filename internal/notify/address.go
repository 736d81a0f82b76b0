package notify

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// The variables that short forms take their credentials from.
const (
	slackToken = "TRUEUP_SLACK_TOKEN" // xoxb-…
	smtpURL    = "TRUEUP_SMTP_URL"    // smtp://user:password@host:587/?from=trueup@example.com
)

// address is where a message goes. Everything in it is secret but kind.
type address struct {
	kind    string
	url     string
	webhook bool // trueup's own JSON, posted to an http or https URL
}

// address resolves what stands in `to`: a full URL, a short form or a
// reference to either.
func (r *Router) address(ctx context.Context, to secret.Ref) (address, error) {
	text := string(to)
	if _, known := r.secrets[to.Scheme()]; known && !strings.Contains(text, "://") {
		v, err := r.secrets.Resolve(ctx, to)
		if err != nil {
			// The reference is no secret, and a resolver may be away for a while.
			return address{}, fmt.Errorf("notify: %w", err)
		}
		if text = strings.TrimSpace(v.Reveal()); !strings.Contains(text, "://") && label(secret.Ref(text)) == to.Scheme() {
			return address{}, driver.Permanent(fmt.Errorf("notify: %s holds another reference, not an address", to))
		}
	}
	kind, rest, ok := strings.Cut(text, ":")
	switch {
	case !ok || rest == "":
		return address{}, driver.Permanent(fmt.Errorf("notify: the address in server.yaml has no service in front, like slack:#ops"))
	case strings.HasPrefix(rest, "//") && (kind == "http" || kind == "https"):
		return address{kind: "webhook", url: text, webhook: true}, nil
	case strings.HasPrefix(rest, "//"):
		return address{kind: label(secret.Ref(text)), url: text}, nil
	case kind == "slack":
		return r.slack(ctx, rest)
	case kind == "mailto":
		return r.mail(ctx, rest)
	}
	return address{}, driver.Permanent(fmt.Errorf("notify: no short form for %q: write slack:#channel, mailto:address, a URL, or a reference to one", kind))
}

// slack makes slack:#ops a URL with the bot's token.
func (r *Router) slack(ctx context.Context, channel string) (address, error) {
	token, err := r.secrets.Resolve(ctx, "env:"+slackToken)
	if err != nil {
		return address{}, driver.Permanent(fmt.Errorf("notify: slack:#channel needs the bot's token: %w", err))
	}
	kind, rest, _ := strings.Cut(token.Reveal(), "-")
	u := url.URL{Scheme: "slack", User: url.UserPassword(kind, rest), Host: strings.TrimPrefix(channel, "#")}
	return address{kind: "slack", url: u.String()}, nil
}

// mail makes mailto:ops@example.com a URL with the mail server's credentials.
func (r *Router) mail(ctx context.Context, to string) (address, error) {
	base, err := r.secrets.Resolve(ctx, "env:"+smtpURL)
	if err != nil {
		return address{}, driver.Permanent(fmt.Errorf("notify: mailto: needs the mail server: %w", err))
	}
	u, err := url.Parse(base.Reveal())
	if err != nil || u.Scheme != "smtp" || u.Host == "" {
		return address{}, driver.Permanent(fmt.Errorf("notify: %s is no smtp://user:password@host:port/?from=address", smtpURL))
	}
	q := u.Query()
	q.Set("to", to)
	u.RawQuery = q.Encode()
	return address{kind: "smtp", url: u.String()}, nil
}
