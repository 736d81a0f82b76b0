package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// verbs are the actions that POST /api/v1/actions/{verb} knows.
var verbs = map[auth.Verb]func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error){
	auth.Sync: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Sync(ctx, id.Actor, a)
	},
	auth.Poll: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Poll(ctx, id.Actor, a.Repository)
	},
	auth.Cancel: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Cancel(ctx, id.Actor, a.Target)
	},
	auth.Approve: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		x, err := s.Actions.Approve(ctx, id, a.Target, a.PlanHash, a.Reason)
		return Done{OK: true, Approval: &x}, err
	},
	auth.Reject: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		x, err := s.Actions.Reject(ctx, id, a.Target, a.PlanHash, a.Reason)
		return Done{OK: true, Approval: &x}, err
	},
	auth.Suspend: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Suspend(ctx, id.Actor, a.Kind, a.Key, a.Reason)
	},
	auth.Resume: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Resume(ctx, id.Actor, a.Kind, a.Key)
	},
	auth.Freeze: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Freeze(ctx, id.Actor, a.Reason)
	},
	auth.Unfreeze: func(s *Server, ctx context.Context, id auth.Identity, _ Action) (Done, error) {
		return Done{OK: true}, s.Actions.Unfreeze(ctx, id.Actor)
	},
	auth.ConfirmRestore: func(s *Server, ctx context.Context, id auth.Identity, _ Action) (Done, error) {
		return Done{OK: true}, s.Actions.ConfirmRestore(ctx, id.Actor)
	},
	auth.Rollback: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Rollback(ctx, id.Actor, a.Target, a.Commit, a.Reason)
	},
	auth.Unpin: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Unpin(ctx, id.Actor, a.Target)
	},
	auth.BreakGlass: (*Server).breakGlass,
	auth.Destroy: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return Done{OK: true}, s.Actions.Destroy(ctx, id.Actor, a.Target, a.Reason)
	},
	auth.ListState: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		a.Op = "list"
		return s.state(ctx, id, a)
	},
	auth.ChangeState: func(s *Server, ctx context.Context, id auth.Identity, a Action) (Done, error) {
		return s.state(ctx, id, a)
	},
}

func (s *Server) state(ctx context.Context, id auth.Identity, a Action) (Done, error) {
	x, err := s.Actions.State(ctx, id.Actor, a.Target, driver.StateOp{Verb: a.Op, Args: a.Args}, a.Reason)
	return Done{OK: true, State: &x}, err
}

func (s *Server) action(w http.ResponseWriter, r *http.Request) error {
	verb := auth.Verb(r.PathValue("verb"))
	do, ok := verbs[verb]
	if !ok {
		return fault(http.StatusNotFound, "not_found", "there is no action "+string(verb))
	}
	a, err := readAction(r)
	if err != nil {
		return err
	}
	o, err := s.object(r, verb, a)
	if err != nil {
		return err
	}
	if err := auth.Allow(caller(r), verb, o); err != nil {
		return err
	}
	done, err := do(s, r.Context(), caller(r), a)
	if err != nil {
		return errRefused{err}
	}
	s.Log.Info("action", "verb", string(verb), "actor", string(caller(r).Actor), "on", o.String(), "reason", a.Reason)
	return reply(w, http.StatusAccepted, done)
}

func readAction(r *http.Request) (Action, error) {
	var a Action
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return a, fault(http.StatusUnsupportedMediaType, "invalid", "send application/json")
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return a, err
		}
		return a, fault(http.StatusBadRequest, "invalid", "the body is not a valid action: "+err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return a, fault(http.StatusBadRequest, "invalid", "the body holds more than one document")
	}
	switch a.Mode {
	case "", plan.Apply, plan.AddOnly:
		return a, nil
	}
	return a, fault(http.StatusBadRequest, "invalid", "mode is apply or addOnly")
}

// object finds what an action is about, so that it can be authorised. A
// missing name is an error here, never the whole server.
func (s *Server) object(r *http.Request, verb auth.Verb, a Action) (auth.Object, error) {
	kind, key := "target", a.Target
	switch verb {
	case auth.Freeze, auth.Unfreeze, auth.ConfirmRestore, auth.BreakGlass:
		return auth.Object{}, nil
	case auth.Poll:
		kind, key = "repository", a.Repository
	case auth.Suspend, auth.Resume:
		kind, key = a.Kind, a.Key
	}
	if key == "" {
		return auth.Object{}, fault(http.StatusBadRequest, "invalid", string(verb)+" needs the name of a "+kind)
	}
	missing := fault(http.StatusNotFound, "not_found", "there is no "+kind+" "+key)
	switch kind {
	case "target":
		t, err := s.visible(r, key)
		return auth.Object{Environment: t.Environment, Target: t.ID}, err
	case "environment":
		if _, ok := s.Config().Environments[key]; !ok && !s.held(r, kind, key) || !caller(r).Sees(key) {
			return auth.Object{}, missing
		}
		return auth.Object{Environment: key}, nil
	case "repository":
		if _, ok := s.Config().Repositories[key]; !ok && !s.held(r, kind, key) {
			return auth.Object{}, missing
		}
		return auth.Object{Repository: key}, nil
	}
	return auth.Object{}, fault(http.StatusBadRequest, "invalid", "kind is target, environment or repository")
}

// held tells whether a hold is left on something that is gone from the
// configuration, so that it can still be lifted.
func (s *Server) held(r *http.Request, kind, key string) bool {
	hs, err := s.Store.Holds(r.Context())
	if err != nil {
		return false
	}
	for _, h := range hs {
		if h.Kind == kind && h.Key == key {
			return true
		}
	}
	return false
}

// breakGlass records that somebody goes past the server, and why. The change
// itself is made by the caller.
func (s *Server) breakGlass(ctx context.Context, id auth.Identity, a Action) (Done, error) {
	if a.Reason == "" {
		return Done{}, errors.New("going past the server needs a reason")
	}
	data, err := json.Marshal(map[string]string{"reason": a.Reason, "targets": a.Key})
	if err != nil {
		return Done{}, err
	}
	return Done{OK: true}, s.Store.AddEvent(ctx, store.Event{Actor: id.Actor, Kind: "break-glass", Data: data})
}
