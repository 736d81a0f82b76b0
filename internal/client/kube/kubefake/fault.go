package kubefake

import (
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Loss says how a connection is lost.
type Loss int

// The losses.
const (
	Kept        Loss = iota
	LostRequest      // before anything was done
	LostAnswer       // after it was done
	// ResetAnswer ends the request alone after it was done, as a proxy does,
	// and leaves the connection open.
	ResetAnswer
	// HalfAnswer sends half of the answer and ends it cleanly.
	HalfAnswer
)

// Review is an admission hook: it may change the object, or refuse by an error
// (Refused makes one). Deletions come with the object that is to be deleted.
type Review func(r Request, u *unstructured.Unstructured) error

type faults struct {
	deny   hooks[func(Request) error]
	admit  hooks[Review]
	lose   hooks[func(Request) Loss]
	delay  hooks[func(Request) time.Duration]
	warn   hooks[func(Request) string]
	settle func(*unstructured.Unstructured)
	page   int
	down   map[string]bool // group/version
}

// hooks are functions that can be taken off again.
type hooks[F any] struct{ list []*F }

func (h *hooks[F]) all() []F {
	out := make([]F, len(h.list))
	for i, f := range h.list {
		out[i] = *f
	}
	return out
}

func (h *hooks[F]) add(s *Server, f F) (undo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &f
	h.list = append(h.list, p)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		kept := h.list[:0:0]
		for _, q := range h.list {
			if q != p {
				kept = append(kept, q)
			}
		}
		h.list = kept
	}
}

// Deny answers requests with an error before anything else happens, for which
// Status and the constructors of k8s.io/apimachinery/pkg/api/errors serve.
// Hooks run one at a time, and must not call the server.
func (s *Server) Deny(f func(Request) error) (undo func()) { return s.faults.deny.add(s, f) }

// DenyTimes answers the first n requests that fit with an error.
func (s *Server) DenyTimes(n int, fit func(Request) bool, err error) {
	s.Deny(func(r Request) error {
		if n == 0 || !fit(r) {
			return nil
		}
		n--
		return err
	})
}

// Admit adds an admission hook.
func (s *Server) Admit(f Review) (undo func()) { return s.faults.admit.add(s, f) }

// Lose loses connections.
func (s *Server) Lose(f func(Request) Loss) (undo func()) { return s.faults.lose.add(s, f) }

// Delay lets requests wait, until their clients give up at the latest.
func (s *Server) Delay(f func(Request) time.Duration) (undo func()) { return s.faults.delay.add(s, f) }

// Warn adds warnings to answers; "" is none.
func (s *Server) Warn(f func(Request) string) (undo func()) { return s.faults.warn.add(s, f) }

// Settle replaces what the controllers do: it gets each object after a write
// and sets its status. Settled is the default; nil leaves every status alone.
func (s *Server) Settle(f func(*unstructured.Unstructured)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.settle = f
}

// Pages bounds the pages of lists, below what clients ask for.
func (s *Server) Pages(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.page = size
}

// Down makes the server behind an aggregated group and version ("apps/v1")
// unreachable: 503 for its paths, and stale in the list of all kinds.
func (s *Server) Down(groupVersion string, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.down == nil {
		s.faults.down = map[string]bool{}
	}
	s.faults.down[groupVersion] = down
}

// Expire makes all continue tokens and the resource versions up to now too old,
// as etcd's compaction does every five minutes.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.pages = map[string]*pages{}
	s.store.oldest = s.store.version + 1
	s.store.events = nil
}

// Status makes an error with a code and a reason, as a proxy or a broken server
// answers it.
func Status(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

// Refused is the error of an admission webhook that denies a request.
func Refused(webhook, message string) error {
	return Status(http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "`+webhook+`" denied the request: `+message)
}

// NoDryRun is the error for a webhook with side effects in a dry run.
func NoDryRun(webhook string) error {
	return Status(http.StatusBadRequest, metav1.StatusReasonBadRequest, `admission webhook "`+webhook+`" does not support dry run`)
}

// drop closes the connection of a request, and with it all others on it.
func drop(h *http.Request) {
	if c, ok := h.Context().Value(connKey{}).(net.Conn); ok {
		_ = c.Close()
	}
}

// reset ends a request without an answer. Over HTTP/2 a deadline that has
// passed resets the stream and leaves the connection alone.
func reset(w http.ResponseWriter, h *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
	<-h.Context().Done()
}

func (s *Server) lost(r Request) Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults.lose.all() {
		if l := f(r); l != Kept {
			return l
		}
	}
	return Kept
}

// wait tells whether the client still waits after a delay.
func (s *Server) wait(h *http.Request, r Request) bool {
	s.mu.Lock()
	var d time.Duration
	for _, f := range s.faults.delay.all() {
		d += f(r)
	}
	s.mu.Unlock()
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-h.Context().Done():
		return false
	}
}
