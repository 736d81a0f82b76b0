package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"trueup.dev/trueup/internal/driver"
)

var (
	// ErrNotFound: the object, or its namespace, is not there.
	ErrNotFound = errors.New("not found")
	// ErrMoved: the object is not the one that was meant, or not as it was.
	ErrMoved = errors.New("the object changed meanwhile")
	// ErrUncertain: the answer to a write was lost; it may have been done.
	ErrUncertain = errors.New("it is not known whether the API server did it")
	// ErrDenied: the credentials are not good, or not allowed to do this.
	ErrDenied = errors.New("access denied")
)

// Conflict tells that other field managers own fields with other values
// (server-side apply), or that a precondition did not hold.
type Conflict struct {
	Fields []Owner
	err    error
}

// Owner is one field and who owns it.
type Owner struct {
	// Field is the path as the server writes it: .spec.replicas.
	Field string
	// Manager is as the server writes it, mostly with operation and version:
	// "kubectl-edit" using apps/v1.
	Manager string
}

// Error lists the fields and their owners.
func (c *Conflict) Error() string {
	if len(c.Fields) == 0 {
		return c.err.Error()
	}
	lines := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		lines[i] = f.Field + " is owned by " + f.Manager
	}
	return strings.Join(lines, "; ")
}

// Unwrap gives the server's own error.
func (c *Conflict) Unwrap() error { return c.err }

// wrap says what an error of the API machinery means to trueup.
func wrap(err error) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return wrapStatus(err, status.Status())
	case errors.Is(err, context.Canceled):
		return err
	case lost(err):
		return fmt.Errorf("%w: %w: %w", driver.ErrUnreachable, ErrUncertain, err)
	case unconnected(err):
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	return err
}

func wrapStatus(err error, s metav1.Status) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return conflict(err, s)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %w: the API server does not accept the credentials: %w", driver.ErrUnreachable, ErrDenied, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err):
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err):
		return fmt.Errorf("%w: %w: %w", driver.ErrUnreachable, ErrUncertain, err)
	case s.Code >= 500 && !webhook(s.Message):
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return err
}

// webhook tells that an internal error is that of an admission webhook, before
// anything was written.
func webhook(message string) bool { return strings.Contains(message, "failed calling webhook") }

func conflict(err error, s metav1.Status) error {
	c := &Conflict{err: err}
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Type != metav1.CauseTypeFieldManagerConflict {
				continue
			}
			manager := strings.TrimPrefix(cause.Message, "conflict with ")
			c.Fields = append(c.Fields, Owner{Field: cause.Field, Manager: manager})
		}
	}
	return c
}

// unconnected tells that no request reached the server.
func unconnected(err error) bool {
	var op *net.OpError
	var u *url.Error
	return utilnet.IsConnectionRefused(err) || errors.As(err, &op) && op.Op == "dial" || errors.As(err, &u)
}

// lost tells that a request may have reached the server, but no answer came.
func lost(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || utilnet.IsConnectionRefused(err) {
		return false
	}
	var timeout net.Error
	return utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
