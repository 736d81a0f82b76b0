package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// errForeign: a 404 that says nothing about the object. The path is not served
// (any more), or what answers is no API server.
var errForeign = errors.New("the server has nothing at this path")

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

// read says what an error of a read means to trueup.
func read(err error) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return statusOf(err, status.Status(), false)
	case errors.Is(err, context.Canceled):
		return err
	case transported(err):
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, explained(err))
	}
	return err
}

// written says what an error of a write means: whatever went wrong after the
// request went out, but for the server's own word, leaves open whether it was
// done.
func written(err error, sent bool) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return statusOf(err, status.Status(), true)
	case !sent:
		return read(err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return fmt.Errorf("%w: %w: %w", driver.ErrUnreachable, ErrUncertain, explained(err))
}

func statusOf(err error, s metav1.Status, write bool) error {
	lost := err
	if write {
		lost = fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	switch {
	case apierrors.IsNotFound(err) && foreign(s):
		return fmt.Errorf("%w: %w: %w", driver.ErrUnreachable, errForeign, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return conflict(err, s)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %w: the API server does not accept the credentials: %w", driver.ErrUnreachable, ErrDenied, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case apierrors.IsTooManyRequests(err):
		return fmt.Errorf("%w: the API server is busy: %w", driver.ErrUnreachable, err)
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return fmt.Errorf("%w: the API server has forgotten the moment that was asked for: %w", driver.ErrUnreachable, err)
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), s.Code >= 502 && s.Code <= 504:
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, lost)
	case s.Code >= 500 && !webhook(s):
		return lost
	}
	return err
}

// foreign tells that an answer is not one that API servers give about objects.
func foreign(s metav1.Status) bool {
	if s.Details == nil {
		return true
	}
	for _, c := range s.Details.Causes {
		if c.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return s.Details.Name == ""
}

// webhook tells that an internal error is that of an admission webhook, before
// anything was written, or of a body that does not fit the schema.
func webhook(s metav1.Status) bool {
	return strings.Contains(s.Message, "failed calling webhook") || strings.HasPrefix(s.Message, "failed to create typed patch object")
}

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

// transported tells that an error is one of the way to the server and back.
func transported(err error) bool {
	var op *net.OpError
	var u *url.Error
	return errors.As(err, &u) || errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// explained puts what to mend before an error of TLS.
func explained(err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var bad x509.CertificateInvalidError
	var alert tls.AlertError
	var plain tls.RecordHeaderError
	why := ""
	switch {
	case errors.As(err, &authority):
		why = "the API server's certificate is not of the authority that the kubeconfig names"
	case errors.As(err, &host):
		why = "the API server's certificate is for another name"
	case errors.As(err, &bad) && bad.Reason == x509.Expired:
		why = "the API server's certificate has expired, or is not valid yet"
	case errors.As(err, &bad):
		why = "the API server's certificate is not valid"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		why = "the API server refuses the client certificate"
	case errors.As(err, &plain):
		why = "the server does not speak TLS"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", why, err)
}
