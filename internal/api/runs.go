package api

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func sortedKeys(inv driver.Inventory) []plan.Key {
	return slices.SortedFunc(maps.Keys(inv), plan.Key.Compare)
}

func (s *Server) runs(w http.ResponseWriter, r *http.Request) error {
	p, err := page(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := store.RunFilter{Target: q.Get("target"), Environment: q.Get("environment"), Repository: q.Get("repository"),
		State: store.RunState(q.Get("state")), Page: p}
	if f.Since, err = timeParam(r, "since"); err != nil {
		return err
	}
	if f.Until, err = timeParam(r, "until"); err != nil {
		return err
	}
	rs, next, err := s.Store.Runs(r.Context(), f)
	if err != nil {
		return err
	}
	out := List[store.Run]{Items: []store.Run{}, Next: next}
	for _, x := range rs {
		if caller(r).Sees(x.Environment) {
			out.Items = append(out.Items, x)
		}
	}
	return reply(w, http.StatusOK, out)
}

// visibleRun gives the run named in the path when the caller may see it.
func (s *Server) visibleRun(r *http.Request) (store.Run, error) {
	id := r.PathValue("id")
	missing := fault(http.StatusNotFound, "not_found", "there is no run "+id)
	run, err := s.Store.Run(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return run, missing
	}
	if err != nil {
		return run, err
	}
	if !caller(r).Sees(run.Environment) {
		return store.Run{}, missing
	}
	return run, nil
}

func (s *Server) run(w http.ResponseWriter, r *http.Request) error {
	run, err := s.visibleRun(r)
	if err != nil {
		return err
	}
	results, err := s.Store.Results(r.Context(), run.ID)
	if err != nil {
		return err
	}
	for i := range results {
		results[i].LastApplied, results[i].Hash = nil, ""
	}
	return reply(w, http.StatusOK, Run{run, results})
}

func (s *Server) runPlan(w http.ResponseWriter, r *http.Request) error {
	run, err := s.visibleRun(r)
	if err != nil {
		return err
	}
	p, hash, err := s.Store.Plan(r.Context(), run.ID)
	if errors.Is(err, store.ErrNotFound) {
		return fault(http.StatusNotFound, "not_found", "run "+run.ID+" has no plan")
	}
	if err != nil {
		return err
	}
	// A plan is masked before it is stored; once more costs nothing.
	shown := *p
	shown.Artefact = nil
	if err := shown.Mask(nil); err != nil {
		return err
	}
	return reply(w, http.StatusOK, Plan{hash, &shown})
}

// maxWait bounds a long poll, below the server's write timeout.
const maxWait = 25 * time.Second

// runLog gives the lines after a number. With wait=SECONDS it answers as soon
// as there are any, or the run has ended.
func (s *Server) runLog(w http.ResponseWriter, r *http.Request) error {
	run, err := s.visibleRun(r)
	if err != nil {
		return err
	}
	after, err := number(r, "after")
	if err != nil {
		return err
	}
	wait, err := number(r, "wait")
	if err != nil {
		return err
	}
	end := time.Now().Add(min(time.Duration(wait)*time.Second, maxWait))
	for {
		// The state is read before the lines: what a run wrote before its end is
		// then surely among them.
		done := run.State != store.RunActive
		lines, err := s.Store.Log(r.Context(), run.ID, after)
		if err != nil {
			return err
		}
		if len(lines) > 0 || done || !time.Now().Before(end) {
			if lines == nil {
				lines = []store.LogLine{}
			}
			return reply(w, http.StatusOK, Log{lines, done})
		}
		if err := s.pause(r, 200*time.Millisecond); err != nil {
			return err
		}
		if run, err = s.Store.Run(r.Context(), run.ID); err != nil {
			return err
		}
	}
}

// pause waits, or ends with the caller or the server.
func (s *Server) pause(r *http.Request, d time.Duration) error {
	select {
	case <-r.Context().Done():
		return errGone
	case <-s.stop:
		return fault(http.StatusServiceUnavailable, "unavailable", "the server is stopping")
	case <-time.After(d):
		return nil
	}
}
