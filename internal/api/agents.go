package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// Agents takes hosts in that call, and shuts them out.
type Agents interface {
	// Token makes a one-time token; hosts is what a name or a group stands for.
	Token(ctx context.Context, by store.Actor, hosts []string, ttl time.Duration) (secret.Value, time.Time, error)
	List(ctx context.Context) ([]store.Agent, error)
	Revoke(ctx context.Context, by store.Actor, host, reason string) error
	// Hosts gives the hosts of all inventories that call in.
	Hosts(ctx context.Context) ([]driver.Host, error)
	// Handler answers the agents themselves.
	Handler() http.Handler
}

// AgentToken asks for a token: for one host, or for each host of a group.
type AgentToken struct {
	Host   string `json:"host,omitempty"`
	Group  string `json:"group,omitempty"`
	TTL    string `json:"ttl,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// AgentTokenMade is the token, shown once.
type AgentTokenMade struct {
	Token string    `json:"token"`
	Hosts []string  `json:"hosts"`
	Until time.Time `json:"until"`
	// Listed tells that an inventory has the hosts with agent: true.
	Listed bool `json:"listed"`
}

// agents lists who calls in. It takes the right to see everything: hosts
// belong to no single environment.
func (s *Server) agents(w http.ResponseWriter, r *http.Request) error {
	if caller(r).Narrowed() {
		return auth.Allow(caller(r), auth.EnrolAgent, auth.Object{})
	}
	list, err := s.Agents.List(r.Context())
	if err != nil {
		return err
	}
	if list == nil {
		list = []store.Agent{}
	}
	return reply(w, http.StatusOK, List[store.Agent]{Items: list})
}

func (s *Server) agentToken(w http.ResponseWriter, r *http.Request) error {
	if err := auth.Allow(caller(r), auth.EnrolAgent, auth.Object{}); err != nil {
		return err
	}
	var q AgentToken
	if err := readJSON(r, &q); err != nil {
		return err
	}
	var ttl time.Duration
	if q.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(q.TTL); err != nil || ttl <= 0 {
			return fault(http.StatusBadRequest, "invalid", "ttl is a time such as 1h")
		}
	}
	hosts, listed, err := s.agentHosts(r.Context(), &q)
	if err != nil {
		return err
	}
	token, until, err := s.Agents.Token(r.Context(), caller(r).Actor, hosts, ttl)
	if err != nil {
		return errRefused{err}
	}
	s.Log.Info("action", "verb", string(auth.EnrolAgent), "actor", string(caller(r).Actor), "hosts", len(hosts), "reason", q.Reason)
	return reply(w, http.StatusCreated, AgentTokenMade{Token: token.Reveal(), Hosts: hosts, Until: until, Listed: listed})
}

// agentHosts gives the hosts that a token is for, and whether an inventory
// has them with `agent: true`.
func (s *Server) agentHosts(ctx context.Context, q *AgentToken) (hosts []string, listed bool, err error) {
	if (q.Host == "") == (q.Group == "") {
		return nil, false, fault(http.StatusBadRequest, "invalid", "name either a host or a group")
	}
	all, err := s.Agents.Hosts(ctx)
	if err != nil {
		return nil, false, errRefused{err}
	}
	taken, err := s.enrolled(ctx, q)
	if err != nil {
		return nil, false, err
	}
	there := 0
	for _, h := range all {
		if h.Name != q.Host && (q.Group == "" || !slices.Contains(h.Groups, q.Group)) {
			continue
		}
		if there++; !taken[h.Name] {
			hosts = append(hosts, h.Name)
		}
	}
	if len(hosts) > 0 {
		return hosts, true, nil
	}
	if there > 0 {
		return nil, false, errRefused{fmt.Errorf("every host of the group %s has an agent: name a host to enrol it anew, or revoke its agent first", q.Group)}
	}
	if q.Group != "" {
		return nil, false, errRefused{fmt.Errorf("no inventory has a host with `agent: true` in the group %s", q.Group)}
	}
	return []string{q.Host}, false, nil
}

// enrolled gives the hosts that a token for a group is not for: those that
// have an agent. Whoever holds the token could take their place.
func (s *Server) enrolled(ctx context.Context, q *AgentToken) (map[string]bool, error) {
	if q.Group == "" {
		return nil, nil
	}
	list, err := s.Agents.List(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	now := time.Now()
	for _, a := range list {
		taken[a.Host] = a.State == store.AgentActive && a.ExpiresAt.After(now)
	}
	return taken, nil
}

func (s *Server) agentRevoke(w http.ResponseWriter, r *http.Request) error {
	if err := auth.Allow(caller(r), auth.RevokeAgent, auth.Object{}); err != nil {
		return err
	}
	var q AgentToken
	if err := readJSON(r, &q); err != nil {
		return err
	}
	host := r.PathValue("host")
	err := s.Agents.Revoke(r.Context(), caller(r).Actor, host, q.Reason)
	if errors.Is(err, store.ErrNotFound) {
		return fault(http.StatusNotFound, "not_found", "there is no agent "+host)
	}
	if err != nil {
		return err
	}
	s.Log.Info("action", "verb", string(auth.RevokeAgent), "actor", string(caller(r).Actor), "on", host, "reason", q.Reason)
	return reply(w, http.StatusOK, Done{OK: true})
}

func readJSON(r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return fault(http.StatusUnsupportedMediaType, "invalid", "send application/json")
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fault(http.StatusBadRequest, "invalid", "the body can't be read: "+err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault(http.StatusBadRequest, "invalid", "the body holds more than one document")
	}
	return nil
}

// untilStop ends waiting calls when the server stops.
func (s *Server) untilStop(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-s.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) ([]store.Agent, error) {
	return list[store.Agent](ctx, c, "/api/v1/agents", nil, 0)
}

// AgentToken asks for a token.
func (c *Client) AgentToken(ctx context.Context, q AgentToken) (AgentTokenMade, error) {
	var out AgentTokenMade
	return out, c.post(ctx, "/api/v1/agents/tokens", q, &out)
}

// RevokeAgent shuts an agent out.
func (c *Client) RevokeAgent(ctx context.Context, host, reason string) error {
	var out Done
	return c.post(ctx, "/api/v1/agents/"+host+"/revoke", AgentToken{Reason: reason}, &out)
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	resp, err := c.do(ctx, http.MethodPost, path, in, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(out)
}
