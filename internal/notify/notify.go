// Package notify tells people about runs that are held, failed, stale,
// drifted, flapping or recovered: which routes a message takes, what it says,
// how it is sent, and, in Decide, when there is something to say at all.
package notify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// The kinds of messages.
const (
	Held      = "held"
	Failed    = "failed"
	Stale     = "stale"
	Drift     = "drift"
	Recovered = "recovered"
	Flapping  = "flapping"
)

// Message is what there is to tell.
type Message struct {
	Kind        string            `json:"kind"`
	Target      string            `json:"target"`
	Environment string            `json:"environment"`
	Run         string            `json:"run,omitempty"`
	Text        string            `json:"text"`
	URL         string            `json:"url,omitempty"`
	Fields      map[string]string `json:"fields,omitempty"`
	// Key is the same for messages of which one is enough.
	Key string `json:"key,omitempty"`
}

// Delivery is one message on one route. It goes through the outbox, so it
// names its route and never holds the address, which is secret.
type Delivery struct {
	To      string  `json:"to"` // a name of the route, not its address
	Message Message `json:"message"`
}

// Key is the delivery's name in the outbox: the same message goes over a route
// once.
func (d Delivery) Key() string {
	k := cmp.Or(d.Message.Key, d.Message.Kind+"/"+d.Message.Target+"/"+d.Message.Run)
	return d.To + "/" + k
}

// Router knows where messages go.
type Router struct {
	routes  []route
	secrets secret.Resolvers
	sending chan struct{}
}

type route struct {
	config.Notify
	id string
}

// New makes a router of the configured routes.
func New(routes []config.Notify, secrets secret.Resolvers) *Router {
	r := &Router{secrets: secrets, sending: make(chan struct{}, maxSending)}
	for i, n := range routes {
		r.routes = append(r.routes, route{Notify: n, id: identity(i, n)})
	}
	return r
}

// identity names a route: its place in server.yaml, the kind of its address
// and a short hash of what it says, without the address where that is secret.
// A delivery that waited while the configuration changed finds its route,
// also with a new token, or none when the route says something else now.
func identity(i int, n config.Notify) string {
	to := label(n.To)
	if strings.Contains(string(n.To), "://") {
		n.To = ""
	}
	body, err := json.Marshal(n)
	if err != nil {
		body = []byte(to)
	}
	sum := sha256.Sum256(body)
	return fmt.Sprintf("notify[%d]-%s-%s", i, to, hex.EncodeToString(sum[:4]))
}

// label is what may be shown of an address: its kind.
func label(to secret.Ref) string {
	kind, _, ok := strings.Cut(string(to), ":")
	if !ok {
		return "address"
	}
	kind, _, _ = strings.Cut(kind, "+")
	return kind
}

// Routes gives a delivery for each route that the message takes. Routes with
// the same address get it once.
func (r *Router) Routes(m Message) []Delivery {
	var out []Delivery
	seen := map[secret.Ref]bool{}
	for _, x := range r.routes {
		if seen[x.To] || !x.takes(m) {
			continue
		}
		seen[x.To] = true
		out = append(out, Delivery{To: x.id, Message: m})
	}
	return out
}

// takes tells whether a message goes this way. A list that is empty narrows
// nothing. A target matches by its id (repository/name) or its name.
func (r route) takes(m Message) bool {
	if len(r.On) > 0 && !slices.Contains(r.On, m.Kind) {
		return false
	}
	if len(r.Environments) > 0 && !matches(r.Environments, m.Environment) {
		return false
	}
	_, name, _ := strings.Cut(m.Target, "/")
	name, _, _ = strings.Cut(name, "@")
	return len(r.Targets) == 0 || matches(r.Targets, m.Target) || matches(r.Targets, name)
}

func matches(globs []string, s string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { return glob(g, s) })
}

// glob matches * with any run of characters and ? with one. It takes time in
// proportion to both lengths at most.
func glob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Send sends one delivery. An error that trying again can't mend is
// driver.Permanent. No error shows the address or a part of it, nor what the
// other side answered, which may repeat it.
func (r *Router) Send(ctx context.Context, d Delivery) error {
	i := slices.IndexFunc(r.routes, func(x route) bool { return x.id == d.To })
	if i < 0 {
		return gone(d.To)
	}
	a, err := r.address(ctx, r.routes[i].To)
	if err != nil {
		return err
	}
	if a.webhook {
		return postWebhook(ctx, a, d)
	}
	return r.shout(ctx, a, d.Message)
}

// Retryable tells whether sending again may succeed.
func Retryable(err error) bool { return err != nil && !driver.IsPermanent(err) }
