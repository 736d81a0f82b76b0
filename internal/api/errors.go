package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Error is an error of the API as the client sees it.
type Error struct {
	Status int
	ErrorInfo
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

func fault(status int, code, message string) *Error {
	return &Error{Status: status, ErrorInfo: ErrorInfo{Code: code, Message: message}}
}

// errRefused marks an error of an action: its text is meant for the caller.
type errRefused struct{ err error }

func (e errRefused) Error() string { return e.err.Error() }
func (e errRefused) Unwrap() error { return e.err }

// explain turns an error into an answer. Errors that are not known to be fit
// for the caller are answered as "internal" and only logged.
func explain(err error) *Error {
	var e *Error
	var ds plan.Diagnostics
	var tooLarge *http.MaxBytesError
	var refused errRefused
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &tooLarge):
		return fault(http.StatusRequestEntityTooLarge, "too_large", "the request is too large")
	case errors.Is(err, auth.ErrUnknown):
		return fault(http.StatusUnauthorized, "unauthenticated", err.Error())
	case errors.Is(err, auth.ErrDenied):
		return fault(http.StatusForbidden, "forbidden", err.Error())
	case errors.Is(err, store.ErrNotFound):
		return fault(http.StatusNotFound, "not_found", err.Error())
	case errors.As(err, &ds):
		out := fault(http.StatusUnprocessableEntity, "invalid", "the configuration has mistakes")
		out.Details, _ = json.Marshal(ds)
		return out
	case errors.Is(err, driver.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return fault(http.StatusServiceUnavailable, "unavailable", "the environment or the store can't be reached now")
	case errors.As(err, &refused):
		return fault(http.StatusConflict, "conflict", refused.Error())
	}
	return fault(http.StatusInternalServerError, "internal", "internal error; the server's log says more under the request id")
}

func reply(w http.ResponseWriter, status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(raw, '\n'))
	if err != nil {
		return errGone
	}
	return nil
}

// errGone says that the caller is gone: there is nobody to answer.
var errGone = errors.New("the caller is gone")
