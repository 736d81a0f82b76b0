package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
)

type handler func(http.ResponseWriter, *http.Request) error

type connKey struct{}
type idKey struct{}
type requestKey struct{}

// requestInfo is what the access log learns while a request is answered.
type requestInfo struct {
	id    string
	actor string
	err   error
}

// common gives each request an id, bounds its body, logs it, and turns a
// panic into an answer that tells nothing.
func (s *Server) common(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		info := &requestInfo{id: requestID(r)}
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Request-Id", info.id)
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		rec.Header().Set("Cache-Control", "no-store")
		limit := int64(maxBody)
		if strings.HasPrefix(r.URL.Path, "/webhook/") {
			limit = maxHook
		}
		r.Body = http.MaxBytesReader(rec, r.Body, limit)
		defer func() {
			if p := recover(); p != nil {
				s.Log.Error("panic in a request", "request", info.id, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				s.fail(rec, fault(http.StatusInternalServerError, "internal", "internal error; the server's log says more under the request id"))
			}
			attrs := []any{"request", info.id, "method", r.Method, "path", r.URL.Path, "status", rec.code(), "bytes", rec.bytes,
				"duration", time.Since(start).Round(time.Microsecond).String(), "actor", info.actor}
			if info.err != nil {
				attrs = append(attrs, "error", info.err.Error())
			}
			level := slog.LevelInfo
			if (r.Method == http.MethodGet || strings.HasPrefix(r.URL.Path, "/agent/")) && rec.code() < 400 {
				level = slog.LevelDebug // the polling of a page, a probe or an agent is no news
			}
			s.Log.Log(r.Context(), level, "request", attrs...)
		}()
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), requestKey{}, info)))
	})
}

// requestID takes over a caller's id when it is harmless, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	ok := len(id) > 0 && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}) < 0
	if ok {
		return id
	}
	return rand.Text()
}

// open is a handler that asks for no identity.
func (s *Server) open(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil && !errors.Is(err, errGone) {
			if info, ok := r.Context().Value(requestKey{}).(*requestInfo); ok {
				info.err = err
			}
			s.fail(w, explain(err))
		}
	})
}

// authenticated recognises the caller: by the kernel's word on the Unix
// socket, by a token elsewhere.
func (s *Server) authenticated(h handler) http.Handler {
	return s.open(func(w http.ResponseWriter, r *http.Request) error {
		id, err := s.identify(r)
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			return err
		}
		if info, ok := r.Context().Value(requestKey{}).(*requestInfo); ok {
			info.actor = string(id.Actor)
		}
		if err := auth.Allow(id, auth.Read, auth.Object{}); err != nil {
			return err
		}
		return h(w, r.WithContext(context.WithValue(r.Context(), idKey{}, id)))
	})
}

func (s *Server) identify(r *http.Request) (auth.Identity, error) {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	var users map[string]*config.User
	if cfg := s.Config(); cfg != nil {
		users = cfg.Users
	}
	if u := unixConn(c); u != nil {
		return auth.Peer(u, users)
	}
	return auth.Bearer(r.Header.Get("Authorization"), users)
}

// unixConn finds the socket below the wrapper that limits connections.
func unixConn(c net.Conn) *net.UnixConn {
	if u, ok := c.(*net.UnixConn); ok {
		return u
	}
	if l, ok := c.(*tracked); ok {
		return unixConn(l.Conn)
	}
	return nil
}

func caller(r *http.Request) auth.Identity {
	id, _ := r.Context().Value(idKey{}).(auth.Identity)
	return id
}

func (s *Server) fail(w http.ResponseWriter, e *Error) {
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return // the answer has begun
	}
	_ = reply(w, e.Status, ErrorBody{e.ErrorInfo})
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader remembers the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}
