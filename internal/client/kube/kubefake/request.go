package kubefake

import (
	"io"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Request is what was asked.
type Request struct {
	// Verb is get, list, watch, create, update, patch, apply, delete or
	// deletecollection; discover for discovery and everything else.
	Verb                         string
	Resource                     schema.GroupVersionResource
	Subresource, Namespace, Name string
	DryRun, Force                bool
	// Meta tells that only metadata was asked for.
	Meta    bool
	Manager string // the field manager
	// User and Groups are who asks, after impersonation.
	User   string
	Groups []string
	Path   string // with the query
	Body   []byte
	// Patch is the content type of a patch.
	Patch string
}

// Writes tells whether it is a write that is no dry run.
func Writes(r Request) bool { return r.write() && !r.DryRun }

// DryRuns tells whether it is a dry run.
func DryRuns(r Request) bool { return r.DryRun }

// On makes a condition: one of the verbs (all, if empty) on a resource ("" is
// any), as in On("configmaps", "apply", "create").
func On(resource string, verbs ...string) func(Request) bool {
	return func(r Request) bool {
		return (resource == "" || r.Resource.Resource == resource) && (len(verbs) == 0 || slices.Contains(verbs, r.Verb))
	}
}

func (r Request) write() bool {
	switch r.Verb {
	case "create", "update", "patch", "apply", "delete", "deletecollection":
		return true
	}
	return false
}

// Requests gives what was asked so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Count counts the requests so far that fit a condition.
func (s *Server) Count(fit func(Request) bool) int {
	n := 0
	for _, r := range s.Requests() {
		if fit(r) {
			n++
		}
	}
	return n
}

// Forget begins to count anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

// parse reads a request by the specification's resource URIs.
func parse(h *http.Request) (Request, error) {
	q := h.URL.Query()
	r := Request{Verb: "discover", Path: h.URL.RequestURI(), Manager: q.Get("fieldManager"), Force: q.Get("force") == "true",
		Meta: strings.Contains(h.Header.Get("Accept"), "as=PartialObjectMetadata")}
	if dry := q["dryRun"]; len(dry) > 0 {
		if !slices.Equal(dry, []string{"All"}) {
			return r, apierrors.NewBadRequest("dryRun: Unsupported value: supported values: \"All\"")
		}
		r.DryRun = true
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, h.Body, 3<<20))
	if err != nil {
		return r, apierrors.NewRequestEntityTooLargeError("limit is 3145728")
	}
	r.Body = body
	if r.Manager == "" {
		r.Manager, _, _ = strings.Cut(h.UserAgent(), "/")
	}
	r.where(strings.Split(strings.Trim(h.URL.Path, "/"), "/"))
	if r.Resource.Resource != "" {
		r.verb(h)
	}
	return r, nil
}

// where takes a path apart: api/v1/namespaces/NS/RESOURCE/NAME/SUBRESOURCE.
func (r *Request) where(parts []string) {
	switch {
	case parts[0] == "api" && len(parts) > 2:
		r.Resource.Version, parts = parts[1], parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		r.Resource.Group, r.Resource.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		r.Namespace, parts = parts[1], parts[2:]
	}
	r.Resource.Resource = parts[0]
	if len(parts) > 1 {
		r.Name = parts[1]
	}
	if len(parts) > 2 {
		r.Subresource = parts[2]
	}
}

func (r *Request) verb(h *http.Request) {
	switch {
	case h.Method == http.MethodGet && h.URL.Query().Get("watch") == "true":
		r.Verb = "watch"
	case h.Method == http.MethodGet && r.Name == "":
		r.Verb = "list"
	case h.Method == http.MethodGet:
		r.Verb = "get"
	case h.Method == http.MethodPost:
		r.Verb = "create"
	case h.Method == http.MethodPut:
		r.Verb = "update"
	case h.Method == http.MethodPatch:
		r.Verb, r.Patch = "patch", h.Header.Get("Content-Type")
		if strings.HasPrefix(r.Patch, "application/apply-patch") {
			r.Verb, r.Manager = "apply", h.URL.Query().Get("fieldManager")
		}
	case h.Method == http.MethodDelete && r.Name == "":
		r.Verb = "deletecollection"
	case h.Method == http.MethodDelete:
		r.Verb = "delete"
	}
}
