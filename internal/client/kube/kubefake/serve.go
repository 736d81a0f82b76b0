package kubefake

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func base64of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	r, err := parse(h)
	if err == nil {
		err = s.who(h, &r)
	}
	s.mu.Lock()
	s.asked = append(s.asked, r)
	s.mu.Unlock()
	loss := s.lost(r)
	if loss == LostRequest {
		drop(h)
		return
	}
	if !s.wait(h, r) {
		return
	}
	if err == nil {
		err = s.deny(w, r)
	}
	if err != nil {
		fail(w, err)
		return
	}
	if r.Verb == "watch" {
		s.watch(w, h, r)
		return
	}
	s.mu.Lock()
	code, answer, err := s.do(h, r)
	s.mu.Unlock()
	switch loss {
	case LostAnswer:
		drop(h)
		return
	case ResetAnswer:
		reset(w, h)
		return
	case HalfAnswer:
		if err == nil {
			half(w, answer)
			return
		}
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, code, answer)
}

// who finds out who asks, by bearer token and impersonation headers.
func (s *Server) who(h *http.Request, r *Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := strings.TrimPrefix(h.Header.Get("Authorization"), "Bearer ")
	name, ok := s.tokens[token]
	if !ok {
		return apierrors.NewUnauthorized("Unauthorized")
	}
	r.User = name
	if as := h.Header.Get("Impersonate-User"); as != "" {
		r.User, r.Groups = as, h.Header["Impersonate-Group"]
	}
	return nil
}

func (s *Server) deny(w http.ResponseWriter, r Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults.warn.all() {
		if text := f(r); text != "" {
			w.Header().Add("Warning", "299 - "+strconv.Quote(text))
		}
	}
	for _, f := range s.faults.deny.all() {
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// do carries a request out, under the lock.
func (s *Server) do(h *http.Request, r Request) (code int, answer any, err error) {
	if r.Verb == "discover" {
		return s.discover(h)
	}
	if s.faults.down[r.Resource.GroupVersion().String()] {
		return 0, nil, unavailable()
	}
	k := s.kinds.byResource(r.Resource)
	if k == nil || r.Namespace != "" && !k.namespaced || r.Subresource != "" && !k.has(r.Subresource) {
		return 0, nil, noSuchPath()
	}
	switch r.Verb {
	case "get":
		return s.get(k, r)
	case "list":
		return s.list(h, k, r)
	case "create":
		return s.create(k, r)
	case "update", "patch", "apply":
		return s.change(k, r)
	case "delete":
		return s.remove(h, k, r)
	case "deletecollection":
		return s.removeAll(h, k, r)
	}
	return 0, nil, apierrors.NewMethodNotSupported(schema.GroupResource{Group: r.Resource.Group, Resource: r.Resource.Resource}, h.Method)
}

// errNoPath is answered in plain text, as a server does for what it does not
// serve.
var errNoPath = errors.New("404 page not found")

func noSuchPath() error { return errNoPath }

func unavailable() error {
	return Status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "the server is currently unable to handle the request")
}

func half(w http.ResponseWriter, answer any) {
	raw, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw[:len(raw)/2])
}

func reply(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if a, ok := answer.(typed); ok {
		w.Header().Set("Content-Type", a.contentType)
		answer = a.value
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// typed is an answer with a content type of its own.
type typed struct {
	contentType string
	value       any
}

func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, errNoPath) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	st := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError, Message: err.Error()}
	var api apierrors.APIStatus
	if errors.As(err, &api) {
		st = api.Status()
	}
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if st.Details != nil && st.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(st.Details.RetryAfterSeconds)))
	}
	reply(w, int(st.Code), st)
}
