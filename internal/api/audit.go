package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/store"
)

// audit streams the record as a signed export. Callers that are limited to
// environments get those alone.
func (s *Server) audit(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := audit.Filter{Target: q.Get("target"), Environment: q.Get("environment"), Actor: q.Get("actor")}
	var err error
	if f.Since, err = timeParam(r, "since"); err != nil {
		return err
	}
	if f.Until, err = timeParam(r, "until"); err != nil {
		return err
	}
	if id := caller(r); id.Narrowed() {
		f.Sees = id.Sees
	}
	s.long(w)
	w.Header().Set("Content-Type", "application/json")
	if err := audit.Export(r.Context(), w, s.Store, f); err != nil {
		// An export that ends early lacks its signed end.
		s.Log.Error("an export of the record failed", "error", err)
		return errGone
	}
	return nil
}

// long gives an answer more time than usual.
func (s *Server) long(w http.ResponseWriter) {
	if err := http.NewResponseController(w).SetWriteDeadline(s.Clock().Add(backupTimeout)); err != nil {
		s.Log.Debug("no write deadline for a long answer", "error", err)
	}
}

// auditVerify checks the whole record.
func (s *Server) auditVerify(w http.ResponseWriter, r *http.Request) error {
	if err := wholeServer(r); err != nil {
		return err
	}
	s.long(w)
	report, err := s.Store.VerifyAudit(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, report)
}

// wholeServer refuses callers that are limited to environments.
func wholeServer(r *http.Request) error {
	id := caller(r)
	if err := auth.Allow(id, auth.Read, auth.Object{}); err != nil {
		return err
	}
	if id.Narrowed() {
		return fault(http.StatusForbidden, "forbidden", "this is about the whole server, and you are limited to some environments")
	}
	return nil
}

// AuditKey is the public key of the record.
type AuditKey struct {
	Key string `json:"key"`
}

func (s *Server) auditKey(w http.ResponseWriter, r *http.Request) error {
	key, err := s.Store.AuditKey(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, AuditKey{key})
}

// Audit copies an export of the record.
func (c *Client) Audit(ctx context.Context, q url.Values, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/api/v1/audit?"+q.Encode(), nil, "application/json")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// VerifyAudit has the server check its record.
func (c *Client) VerifyAudit(ctx context.Context) (store.AuditReport, error) {
	var out store.AuditReport
	err := c.get(ctx, "/api/v1/audit/verify", nil, &out)
	return out, err
}

// AuditKey gives the public key of the record.
func (c *Client) AuditKey(ctx context.Context) (string, error) {
	var out AuditKey
	err := c.get(ctx, "/api/v1/audit/key", nil, &out)
	return out.Key, err
}
