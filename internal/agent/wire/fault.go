package wire

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/driver"
)

// Fault is an error that travels: its text, and what it says to do next.
type Fault struct {
	Text string   `json:"text"`
	Is   []string `json:"is,omitempty"`
}

var faults = map[string]error{"stale": driver.ErrStale, "unreachable": driver.ErrUnreachable, "not-ready": driver.ErrNotReady,
	"cancelled": context.Canceled, "deadline": context.DeadlineExceeded}

const permanent = "permanent"

// FaultOf makes an error ready to travel; nil stays nil.
func FaultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	f := &Fault{Text: err.Error()}
	for _, name := range []string{"stale", "unreachable", "not-ready", "cancelled", "deadline"} {
		if errors.Is(err, faults[name]) {
			f.Is = append(f.Is, name)
		}
	}
	if driver.IsPermanent(err) {
		f.Is = append(f.Is, permanent)
	}
	return f
}

// remote is an error that came from an agent.
type remote struct {
	text string
	is   []error
}

func (r *remote) Error() string   { return r.text }
func (r *remote) Unwrap() []error { return r.is }

// Err gives the error back; host is whose agent said so.
func (f *Fault) Err(host string) error {
	if f == nil {
		return nil
	}
	r := &remote{text: fmt.Sprintf("agent of %s: %s", host, f.Text)}
	fixed := false
	for _, name := range f.Is {
		if name == permanent {
			fixed = true
			continue
		}
		if e := faults[name]; e != nil {
			r.is = append(r.is, e)
		}
	}
	if fixed {
		return driver.Permanent(r)
	}
	return r
}
