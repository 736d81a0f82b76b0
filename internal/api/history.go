package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

const (
	backupTimeout = time.Hour
	// backupTrailer tells a whole backup from one that was cut off.
	backupTrailer = "X-Trueup-Backup"
)

// history says which commit was in force in an environment at a time: for each
// target that of the last run that left the environment in it.
func (s *Server) history(w http.ResponseWriter, r *http.Request) error {
	env := r.URL.Query().Get("environment")
	if _, ok := s.Config().Environments[env]; !ok || !caller(r).Sees(env) {
		return fault(http.StatusNotFound, "not_found", "there is no environment "+env)
	}
	at, err := timeParam(r, "at")
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = s.Clock()
	}
	found := map[string]InForce{}
	f := store.RunFilter{Environment: env, Until: at, Page: store.Page{Limit: maxPage}}
	for {
		runs, next, err := s.Store.Runs(r.Context(), f)
		if err != nil {
			return err
		}
		for _, run := range runs {
			inForce(found, run, at)
		}
		if next == "" {
			break
		}
		f.After = next
	}
	out := List[InForce]{Items: []InForce{}}
	for _, x := range found {
		out.Items = append(out.Items, x)
	}
	slices.SortFunc(out.Items, func(a, b InForce) int { return cmp.Compare(a.Target, b.Target) })
	return reply(w, http.StatusOK, out)
}

// inForce takes in runs from the newest to the oldest. A run of the same
// commit only moves the beginning back: in force since.
func inForce(found map[string]InForce, run store.Run, at time.Time) {
	took := run.State == store.RunSucceeded || run.State == store.RunPartial || run.State == store.RunNoChange
	if !took || run.Finished.IsZero() || run.Finished.After(at) {
		return
	}
	x, ok := found[run.Target]
	switch {
	case !ok:
		found[run.Target] = InForce{Target: run.Target, Commit: run.Commit, Ref: run.Ref, Since: run.Finished, Run: run.ID,
			State: run.State, Actor: run.Actor, Cause: run.Cause, Origin: run.Origin}
	case x.Commit == run.Commit && x.Since.After(run.Finished) && !x.closed:
		x.Since, x.Run, x.Actor, x.Cause = run.Finished, run.ID, run.Actor, run.Cause
		if run.Origin != nil {
			x.Origin = run.Origin
		}
		found[run.Target] = x
	default:
		x.closed = true
		found[run.Target] = x
	}
}

// why says which line, commit and author ask for an object, and which run
// applied it.
func (s *Server) why(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	address := plan.Address(q.Get("address"))
	if address == "" {
		return fault(http.StatusBadRequest, "invalid", "address is missing")
	}
	out := List[Why]{Items: []Why{}}
	for name := range s.Config().Environments {
		if env := q.Get("environment"); env != "" && env != name || !caller(r).Sees(name) {
			continue
		}
		owners, err := s.Store.WhoOwns(r.Context(), name, address)
		if err != nil {
			return err
		}
		for _, o := range owners {
			x, err := s.reason(r, name, o)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, x)
		}
	}
	slices.SortFunc(out.Items, func(a, b Why) int { return cmp.Compare(a.Target, b.Target) })
	return reply(w, http.StatusOK, out)
}

func (s *Server) reason(r *http.Request, env string, o store.OwnedBy) (Why, error) {
	x := Why{OwnedBy: o, Environment: env}
	x.Hash = ""
	t, err := s.Store.Target(r.Context(), o.Target)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return x, err
	}
	x.Repository = t.Repository
	commit := t.Status.Applied
	run, err := s.Store.Run(r.Context(), o.Run)
	switch {
	case err == nil:
		x.Applied = &run
		commit = cmp.Or(commit, run.Commit)
	case !errors.Is(err, store.ErrNotFound):
		return x, err
	}
	if s.Blame == nil || o.Source.File == "" || commit == "" {
		return x, nil
	}
	a, err := s.Blame.Blame(r.Context(), t.Repository, commit, o.Source)
	if err != nil {
		s.Log.Info("the author of a line could not be found", "target", o.Target, "error", err)
		return x, nil
	}
	x.Commit = &a
	return x, nil
}
