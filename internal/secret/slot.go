package secret

import (
	"context"
	"errors"
	"sync/atomic"
)

// Slot is a resolver that can be replaced while it is in use, as a
// configuration that is loaded anew does.
type Slot struct{ now atomic.Pointer[Resolver] }

// Put sets the resolver that answers from now on; nil empties the slot.
func (s *Slot) Put(r Resolver) {
	if r == nil {
		s.now.Store(nil)
		return
	}
	s.now.Store(&r)
}

// Resolve asks the resolver in the slot.
func (s *Slot) Resolve(ctx context.Context, rest string) (Value, error) {
	r := s.now.Load()
	if r == nil {
		return Value{}, errors.New("this kind of secret store is not set up under secrets")
	}
	return (*r).Resolve(ctx, rest)
}
