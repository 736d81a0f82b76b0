// Package mailbox is the server's side of agents: it takes them in, hands them
// requests and brings their answers to the runs that asked, over the store, so
// that the agent may be connected to another replica than the one that runs.
package mailbox

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// Store is what the mailbox needs of the store.
type Store interface {
	store.Agents
	store.AgentAdmin
	store.AgentOutbox
	store.AgentInbox
	Rest
}

// Rest is the part of the store that is not about agents alone.
type Rest interface {
	store.AgentContent
	store.Events
	Trigger(ctx context.Context, t ...store.Trigger) error
	Target(ctx context.Context, id string) (store.Target, error)
	Key(ctx context.Context, name string) ([]byte, error)
}

// Options is what a mailbox is made of.
type Options struct {
	Store Store
	// Alone says what a host's agent may do about a target while it is on its
	// own; nil is nothing.
	Alone func(ctx context.Context, host, target string) (wire.Alone, error)
	// Validity is how long an agent's key is good without renewal; 0 is 90 days.
	Validity time.Duration
	Log      *slog.Logger
	// Clock gives the time; nil is the system's.
	Clock func() time.Time
}

// Office is the mailbox. It is safe for concurrent use.
type Office struct {
	Options
	key      ed25519.PrivateKey
	strange  *limiter // calls that could not be recognised, by address
	familiar *limiter // calls of agents, by host
}

const validity = 90 * 24 * time.Hour

// New makes a mailbox. The key that signs requests is the store's own, so
// that all replicas sign alike; it is kept encrypted there.
func New(ctx context.Context, o Options) (*Office, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = func() time.Time { return time.Now().UTC() }
	}
	if o.Validity == 0 {
		o.Validity = validity
	}
	if o.Alone == nil {
		o.Alone = func(context.Context, string, string) (wire.Alone, error) {
			return wire.Alone{Why: "nothing is allowed"}, nil
		}
	}
	seed, err := o.Store.Key(ctx, "agent-signing")
	if err != nil {
		return nil, fmt.Errorf("the key that signs requests to agents: %w", err)
	}
	return &Office{Options: o, key: ed25519.NewKeyFromSeed(seed), strange: newLimiter(o.Clock, 2, 30), familiar: newLimiter(o.Clock, 50, 500)}, nil
}

// The bounds of a token's life.
const (
	defaultTTL = time.Hour
	maxTTL     = 30 * 24 * time.Hour
	maxHosts   = 10_000
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// Token makes a one-time token that lets each of the hosts enrol once.
func (o *Office) Token(ctx context.Context, by store.Actor, hosts []string, ttl time.Duration) (secret.Value, time.Time, error) {
	var none secret.Value
	if ttl == 0 {
		ttl = defaultTTL
	}
	switch {
	case len(hosts) == 0:
		return none, time.Time{}, errors.New("name a host")
	case len(hosts) > maxHosts:
		return none, time.Time{}, fmt.Errorf("%d hosts are more than %d for one token", len(hosts), maxHosts)
	case ttl < 0 || ttl > maxTTL:
		return none, time.Time{}, fmt.Errorf("a token may last up to %s", maxTTL)
	}
	for _, h := range hosts {
		if !hostName.MatchString(h) {
			return none, time.Time{}, fmt.Errorf("%q is not a host's name", h)
		}
	}
	token := "tua-" + strings.ToLower(rand.Text()+rand.Text())
	until := o.Clock().Add(ttl)
	if err := o.Store.PutAgentToken(ctx, store.AgentToken{Hash: wire.TokenHash(token), Hosts: hosts, Actor: by, ExpiresAt: until}); err != nil {
		return none, time.Time{}, err
	}
	return secret.New(token), until, o.event(ctx, by, "agent.token", map[string]any{"hosts": hosts, "until": until})
}

// List gives all agents.
func (o *Office) List(ctx context.Context) ([]store.Agent, error) { return o.Store.Agents(ctx) }

// Revoke shuts an agent out at once.
func (o *Office) Revoke(ctx context.Context, by store.Actor, host, reason string) error {
	if err := o.Store.Revoke(ctx, host); err != nil {
		return err
	}
	return o.event(ctx, by, "agent.revoked", map[string]any{"host": host, "reason": reason})
}

func (o *Office) event(ctx context.Context, by store.Actor, kind string, data any) error {
	doc, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return o.Store.AddEvent(ctx, store.Event{Actor: by, Kind: kind, Data: doc})
}
