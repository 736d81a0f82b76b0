package kubernetes

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// memory is how long a session trusts that an object which has not moved is
// still equal to what it was found equal to. Admission and defaults may change
// meanwhile.
const memory = 30 * time.Minute

// memo remembers which objects were found equal to what is desired, so that
// they need no dry run as long as neither moves.
type memo struct {
	mu    sync.Mutex
	known map[memoKey]remembered
}

type memoKey struct {
	target string
	ref    manifest.Ref
}

type remembered struct {
	uid     types.UID
	at      string // generation and metadata, or the resource version
	desired string
	until   time.Time
}

// moment tells whether an object moved, status aside.
func (s *set) moment(u *unstructured.Unstructured) string {
	gen := u.GetGeneration()
	if gen == 0 {
		return u.GetResourceVersion()
	}
	var fields []metav1.ManagedFieldsEntry
	for _, e := range u.GetManagedFields() {
		if e.Subresource == "" {
			e.Time = nil
			fields = append(fields, e)
		}
	}
	return s.hash("moment", []any{gen, u.GetLabels(), u.GetAnnotations(), u.GetFinalizers(), u.GetOwnerReferences(), u.GetDeletionTimestamp(), fields})
}

// equal tells that an object is known to be as desired.
func (m *memo) equal(s *set, o *object) bool {
	if o.live == nil {
		return false
	}
	m.mu.Lock()
	k, ok := m.known[memoKey{s.in.Target, o.ref}]
	m.mu.Unlock()
	return ok && k.desired == o.hash && k.uid == o.live.GetUID() && s.in.Now.Before(k.until) && k.at == s.moment(o.live)
}

// keep remembers that an object was found to be as desired.
func (m *memo) keep(s *set, o *object, live *unstructured.Unstructured) {
	r := remembered{uid: live.GetUID(), at: s.moment(live), desired: o.hash, until: s.in.Now.Add(memory)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[memoKey]remembered{}
	}
	m.known[memoKey{s.in.Target, o.ref}] = r
}
