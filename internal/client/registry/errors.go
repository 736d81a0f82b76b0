package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"trueup.dev/trueup/internal/driver"
)

// Errors of this package, beside driver.ErrUnreachable.
var (
	// ErrRefused: the operator's sources do not allow it. Nothing was sent.
	ErrRefused = errors.New("not allowed by the operator's sources")
	// ErrNotFound: the server has no such repository, tag, chart or artefact.
	ErrNotFound = errors.New("not found")
	// ErrDenied: the server does not accept the credentials, or they are not enough.
	ErrDenied = errors.New("denied")
	// ErrContent: what came is not what was asked for: another digest, too
	// large, or of another form.
	ErrContent = errors.New("unfit content")
)

// Limited says that a server wants to be left alone for a while.
type Limited struct {
	Host  string
	Until time.Time
}

// Error says until when.
func (l *Limited) Error() string {
	return fmt.Sprintf("%s takes no more requests until %s", l.Host, l.Until.UTC().Format(time.RFC3339))
}

// RetryAt is when to ask again.
func (l *Limited) RetryAt() time.Time { return l.Until }

// Unwrap makes it an environment that can't be reached now.
func (l *Limited) Unwrap() error { return driver.ErrUnreachable }

// call is one operation: how much an answer may hold, and what the transport
// refused meanwhile. The library between them does not hand every error on.
type call struct {
	limit int64
	err   error
}

type callKey struct{}

func withCall(ctx context.Context, limit int64) (context.Context, *call) {
	c := &call{limit: limit}
	return context.WithValue(ctx, callKey{}, c), c
}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{limit: maxPage}
}

// explain sorts an error of the library into those of this package.
func (c *call) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	if c.err != nil {
		err = c.err
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its URL may hold a token
	}
	var answer *transport.Error
	switch {
	case errors.Is(err, ErrRefused), errors.Is(err, ErrContent):
		return driver.Permanent(err)
	case errors.Is(err, driver.ErrUnreachable), errors.Is(err, ErrDenied), errors.Is(err, ErrNotFound):
		return err
	case errors.As(err, &answer):
		return statusError(answer.StatusCode, err)
	}
	return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
}

// bare is a URL without what may be secret in it.
func bare(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func statusError(code int, err error) error {
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	return driver.Permanent(err)
}
