package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func wireTarget(t store.Target) Target {
	return Target{ID: t.ID, Repository: t.Repository, Manifest: t.Manifest, Name: t.Name, Environment: t.Environment,
		State: t.State, Desired: t.Desired, Status: t.Status}
}

func (s *Server) targets(w http.ResponseWriter, r *http.Request) error {
	p, err := page(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	ts, next, err := s.Store.Targets(r.Context(), store.TargetFilter{Repository: q.Get("repository"), Environment: q.Get("environment"),
		Manifest: q.Get("manifest"), State: store.TargetState(q.Get("state")), Phase: store.Phase(q.Get("phase")), Page: p})
	if err != nil {
		return err
	}
	out := List[Target]{Items: []Target{}, Next: next}
	for _, t := range ts {
		if caller(r).Sees(t.Environment) {
			out.Items = append(out.Items, wireTarget(t))
		}
	}
	return reply(w, http.StatusOK, out)
}

// visible gives a target that the caller may see. One that the caller may not
// see is not told apart from one that is not there.
func (s *Server) visible(r *http.Request, id string) (store.Target, error) {
	missing := fault(http.StatusNotFound, "not_found", "there is no target "+id)
	t, err := s.Store.Target(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return t, missing
	}
	if err != nil {
		return t, err
	}
	if auth.Allow(caller(r), auth.Read, auth.Object{Environment: t.Environment, Target: id}) != nil {
		return store.Target{}, missing
	}
	return t, nil
}

func (s *Server) target(w http.ResponseWriter, r *http.Request) error {
	t, err := s.visible(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	ctx := r.Context()
	d := TargetDetail{Target: wireTarget(t)}
	var c config.Resolved
	if json.Unmarshal(t.Config, &c) == nil {
		d.Path, d.Inputs, d.DependsOn, d.Source = c.Path, c.Inputs, c.DependsOn, c.Source
	}
	work, err := s.Store.Work(ctx, store.Reconcile, t.ID)
	switch {
	case err == nil:
		d.Work = &work
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if d.Outputs, err = s.Store.Outputs(ctx, t.ID); err != nil {
		return err
	}
	maskOutputs(d.Outputs)
	holds, err := s.Store.Holds(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if covers(h, t) {
			d.Holds = append(d.Holds, h)
		}
	}
	states, err := s.Store.States(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, st := range states {
		d.States = append(d.States, State{st.Commit, st.Kind, st.At})
	}
	for _, kind := range []store.EditKind{store.LiveValues, store.WrittenBack, store.AutoPromotion, store.VersionUpdate} {
		x, err := s.Store.Edit(ctx, kind, t.ID)
		if err == nil {
			d.Edits = append(d.Edits, x)
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return reply(w, http.StatusOK, d)
}

// maskOutputs hides sensitive values.
func maskOutputs(out map[string]plan.Output) {
	for name, o := range out {
		if o.Sensitive {
			o.Value = json.RawMessage(`"***"`)
			out[name] = o
		}
	}
}

func covers(h store.Hold, t store.Target) bool {
	switch h.Kind {
	case "freeze", "restore":
		return true
	case "target":
		return h.Key == t.ID
	case "environment":
		return h.Key == t.Environment
	case "repository":
		return h.Key == t.Repository
	}
	return false
}

// scopes lists the scopes (hosts) of a target that has several.
func (s *Server) scopes(w http.ResponseWriter, r *http.Request) error {
	t, err := s.visible(r, r.URL.Query().Get("target"))
	if err != nil {
		return err
	}
	list, err := s.Store.Scopes(r.Context(), t.ID)
	if err != nil {
		return err
	}
	phase := store.ScopePhase(r.URL.Query().Get("phase"))
	out := List[store.ScopeState]{Items: []store.ScopeState{}}
	for _, st := range list {
		if phase == "" || st.Phase == phase {
			out.Items = append(out.Items, st)
		}
	}
	return reply(w, http.StatusOK, out)
}

func (s *Server) inventory(w http.ResponseWriter, r *http.Request) error {
	t, err := s.visible(r, r.URL.Query().Get("target"))
	if err != nil {
		return err
	}
	inv, err := s.Store.Owned(r.Context(), t.ID)
	if err != nil {
		return err
	}
	out := List[Owned]{Items: []Owned{}}
	for _, k := range sortedKeys(inv) {
		o := inv[k]
		out.Items = append(out.Items, Owned{Key: o.Key, Kind: o.Kind, Realm: o.Realm, Pending: o.Pending, Source: o.Source})
	}
	return reply(w, http.StatusOK, out)
}
