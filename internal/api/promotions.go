package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// Promoter takes versions from one environment to another.
type Promoter interface {
	// Promotions shows which versions differ; an empty name is every
	// environment.
	Promotions(ctx context.Context, from, to string) ([]edit.Promotable, error)
	// Promote proposes them, one pull request for each repository. What could be
	// done is given also with an error.
	Promote(ctx context.Context, by store.Actor, p edit.Promotion) ([]edit.Written, error)
}

// Promoted is the answer to a promotion: what was written, and what went
// wrong beside it.
type Promoted struct {
	Items []edit.Written `json:"items"`
	Error string         `json:"error,omitempty"`
}

// promoteTimeout bounds a promotion: it fetches, pushes and asks the forge.
const promoteTimeout = 3 * time.Minute

// unhurried gives a request the time that a promotion may take.
func unhurried(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(promoteTimeout + 10*time.Second))
	return context.WithTimeout(r.Context(), promoteTimeout)
}

func (s *Server) promotions(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := unhurried(w, r)
	defer cancel()
	q := r.URL.Query()
	for _, name := range []string{q.Get("from"), q.Get("to")} {
		if err := s.knows(r, name); err != nil && name != "" {
			return err
		}
	}
	all, err := s.Actions.Promotions(ctx, q.Get("from"), q.Get("to"))
	if err != nil {
		return errRefused{err}
	}
	out := List[edit.Promotable]{Items: []edit.Promotable{}}
	for _, p := range all {
		if caller(r).Sees(p.Environment) && (p.FromEnv == "" || caller(r).Sees(p.FromEnv)) {
			out.Items = append(out.Items, p)
		}
	}
	return reply(w, http.StatusOK, out)
}

// knows tells whether an environment exists for the caller.
func (s *Server) knows(r *http.Request, environment string) error {
	if _, ok := s.Config().Environments[environment]; !ok || !caller(r).Sees(environment) {
		return fault(http.StatusNotFound, "not_found", "there is no environment "+environment)
	}
	return nil
}

func (s *Server) promote(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := unhurried(w, r)
	defer cancel()
	var p edit.Promotion
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return fault(http.StatusBadRequest, "invalid", "the body is not a valid promotion: "+err.Error())
	}
	for _, name := range []string{p.From, p.To} {
		if err := s.knows(r, name); err != nil {
			return err
		}
	}
	verb := auth.Promote
	if p.DryRun {
		verb = auth.Read
	}
	if err := auth.Allow(caller(r), verb, auth.Object{Environment: p.To}); err != nil {
		return err
	}
	done, err := s.Actions.Promote(ctx, caller(r).Actor, p)
	if err != nil && len(done) == 0 {
		return errRefused{err}
	}
	out := Promoted{Items: done}
	if err != nil {
		out.Error = err.Error()
	}
	if !p.DryRun {
		s.Log.Info("promotion", "from", p.From, "to", p.To, "actor", string(caller(r).Actor), "reason", p.Reason)
	}
	return reply(w, http.StatusOK, out)
}

// Promotions shows which versions differ between environments.
func (c *Client) Promotions(ctx context.Context, from, to string) ([]edit.Promotable, error) {
	q := url.Values{}
	if from != "" {
		q.Set("from", from)
	}
	if to != "" {
		q.Set("to", to)
	}
	var out List[edit.Promotable]
	err := c.get(ctx, "/api/v1/promotions", q, &out)
	return out.Items, err
}

// Promote proposes the versions of one environment for another.
func (c *Client) Promote(ctx context.Context, p edit.Promotion) (Promoted, error) {
	var out Promoted
	resp, err := c.do(ctx, http.MethodPost, "/api/v1/promotions", p, "application/json")
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, json.NewDecoder(resp.Body).Decode(&out)
}
