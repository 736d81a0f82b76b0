package kubernetes

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

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
	base    string // of the object as it was
	desired string
	until   time.Time
}

// equal tells that an object is known to be as desired.
func (m *memo) equal(s *set, o *object) bool {
	if o.live == nil {
		return false
	}
	m.mu.Lock()
	k, ok := m.known[memoKey{s.in.Target, o.ref}]
	m.mu.Unlock()
	if !ok || k.desired != o.hash || !s.in.Now.Before(k.until) {
		return false
	}
	base, err := s.base(o, o.live)
	return err == nil && base == k.base
}

// keep remembers that an object was found to be as desired.
func (m *memo) keep(s *set, o *object, live *unstructured.Unstructured) {
	base, err := s.base(o, live)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[memoKey]remembered{}
	}
	m.known[memoKey{s.in.Target, o.ref}] = remembered{base: base, desired: o.hash, until: s.in.Now.Add(exactEvery)}
}

// forget drops what is known of an object.
func (m *memo) forget(s *set, o *object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, memoKey{s.in.Target, o.ref})
}
