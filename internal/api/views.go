package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/store"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), caller(r)
	out := Status{Version: s.Version, You: You{id.Actor, string(id.Role), id.Teams}}
	var err error
	if out.Now, err = s.Store.Now(ctx); err != nil {
		return err
	}
	if out.ConfigVersion, _, err = s.Store.CurrentConfig(ctx); err != nil {
		return err
	}
	if out.Holds, err = s.Store.Holds(ctx); err != nil {
		return err
	}
	if out.Queue, err = s.Store.Depth(ctx); err != nil {
		return err
	}
	if !id.Narrowed() {
		out.Targets, err = s.Store.CountTargets(ctx)
	} else {
		out.Holds = slices.DeleteFunc(out.Holds, func(h store.Hold) bool { return h.Kind == "environment" && !id.Sees(h.Key) })
		out.Targets, err = s.countSeen(r)
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, out)
}

// countSeen counts the targets that a narrowed caller sees.
func (s *Server) countSeen(r *http.Request) (map[store.Phase]int, error) {
	sum := map[store.Phase]int{}
	for name := range s.Config().Environments {
		if !caller(r).Sees(name) {
			continue
		}
		n, err := s.countIn(r, name)
		if err != nil {
			return nil, err
		}
		for p, k := range n {
			sum[p] += k
		}
	}
	return sum, nil
}

func (s *Server) countIn(r *http.Request, environment string) (map[store.Phase]int, error) {
	out := map[store.Phase]int{}
	f := store.TargetFilter{Environment: environment, Page: store.Page{Limit: maxPage}}
	for {
		ts, next, err := s.Store.Targets(r.Context(), f)
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			out[t.Status.Phase]++
		}
		if next == "" {
			return out, nil
		}
		f.After = next
	}
}

func (s *Server) environments(w http.ResponseWriter, r *http.Request) error {
	cfg := s.Config()
	out := List[Environment]{Items: []Environment{}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Environments)) {
		if !caller(r).Sees(name) {
			continue
		}
		e := cfg.Environments[name]
		x := Environment{Name: name, Driver: e.Driver, Policy: e.Policy, Retired: e.Retired}
		for _, g := range e.Allow {
			x.Grants = append(x.Grants, Grant{g.Repository, g.Branch, g.Paths})
		}
		var err error
		if x.Targets, err = s.countIn(r, name); err != nil {
			return err
		}
		out.Items = append(out.Items, x)
	}
	return reply(w, http.StatusOK, out)
}

func (s *Server) repositories(w http.ResponseWriter, r *http.Request) error {
	cfg := s.Config()
	states, err := s.Store.Repositories(r.Context())
	if err != nil {
		return err
	}
	seen := map[string]store.RepositoryState{}
	for _, st := range states {
		seen[st.Name] = st
	}
	out := List[Repository]{Items: []Repository{}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Repositories)) {
		c := cfg.Repositories[name]
		if caller(r).Narrowed() && !s.serves(r, name) {
			continue
		}
		st := seen[name]
		st.Name = name
		out.Items = append(out.Items, Repository{RepositoryState: st, URL: withoutPassword(c.URL), Follows: follows(c), Poll: c.Poll,
			Webhook: len(c.WebhookSecrets) > 0})
	}
	return reply(w, http.StatusOK, out)
}

// serves tells whether a repository has a grant in an environment that the
// caller sees.
func (s *Server) serves(r *http.Request, repository string) bool {
	for name, e := range s.Config().Environments {
		if caller(r).Sees(name) && slices.ContainsFunc(e.Allow, func(g config.Grant) bool { return g.Repository == repository }) {
			return true
		}
	}
	return false
}

func follows(c *config.Repository) string {
	switch {
	case c.Tags != "":
		return "tags " + c.Tags
	case c.Commit != "":
		return "commit " + c.Commit
	}
	return "branch " + c.Branch
}

// withoutPassword cuts what stands before the host in a URL.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	u.User = url.User(u.User.Username())
	if u.Scheme == "http" || u.Scheme == "https" {
		u.User = nil
	}
	return u.String()
}

func (s *Server) holds(w http.ResponseWriter, r *http.Request) error {
	hs, err := s.Store.Holds(r.Context())
	if err != nil {
		return err
	}
	out := List[store.Hold]{Items: []store.Hold{}}
	for _, h := range hs {
		if h.Kind == "environment" && !caller(r).Sees(h.Key) {
			continue
		}
		if h.Kind == "target" && caller(r).Narrowed() {
			if _, err := s.visible(r, h.Key); err != nil {
				continue
			}
		}
		out.Items = append(out.Items, h)
	}
	return reply(w, http.StatusOK, out)
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	if err := auth.Allow(caller(r), auth.Backup, auth.Object{}); err != nil {
		return err
	}
	if err := http.NewResponseController(w).SetWriteDeadline(s.Clock().Add(backupTimeout)); err != nil {
		s.Log.Debug("no write deadline for a backup", "error", err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", backupTrailer)
	err := s.Store.Backup(r.Context(), w)
	if err != nil {
		s.Log.Error("a backup failed", "error", err)
		w.Header().Set(backupTrailer, "failed")
		return nil
	}
	w.Header().Set(backupTrailer, "complete")
	return nil
}
