package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler gives every route behind the common middleware.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, h handler) { mux.Handle("GET /api/v1/"+path, s.authenticated(h)) }
	get("status", s.status)
	get("targets", s.targets)
	get("targets/{id...}", s.target)
	get("runs", s.runs)
	get("runs/{id}", s.run)
	get("runs/{id}/plan", s.runPlan)
	get("runs/{id}/log", s.runLog)
	get("events", s.events)
	get("environments", s.environments)
	get("repositories", s.repositories)
	get("holds", s.holds)
	get("history", s.history)
	get("why", s.why)
	get("inventory", s.inventory)
	get("scopes", s.scopes)
	get("backup", s.backup)
	get("audit", s.audit)
	get("audit/verify", s.auditVerify)
	get("audit/key", s.auditKey)
	get("promotions", s.promotions)
	mux.Handle("POST /api/v1/promotions", s.authenticated(s.promote))
	get("images", s.images)
	mux.Handle("POST /api/v1/images/check", s.authenticated(s.checkImages))
	mux.Handle("POST /api/v1/actions/{verb}", s.authenticated(s.action))
	if s.Agents != nil {
		get("agents", s.agents)
		mux.Handle("POST /api/v1/agents/tokens", s.authenticated(s.agentToken))
		mux.Handle("POST /api/v1/agents/{host}/revoke", s.authenticated(s.agentRevoke))
		mux.Handle("/agent/v1/", s.untilStop(s.Agents.Handler()))
	}
	mux.Handle("POST /webhook/{repository}", s.open(s.webhook))
	mux.Handle("GET /healthz", s.open(s.healthz))
	mux.Handle("GET /readyz", s.open(s.readyz))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("/", s.open(func(http.ResponseWriter, *http.Request) error {
		return fault(http.StatusNotFound, "not_found", "there is nothing here")
	}))
	return s.common(mux)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			s.Log.Warn("not ready", "error", err)
			return fault(http.StatusServiceUnavailable, "unavailable", "not ready")
		}
	}
	return reply(w, http.StatusOK, map[string]string{"status": "ready"})
}
