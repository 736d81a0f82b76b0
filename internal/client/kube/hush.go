package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hushed is an error whose text does not repeat what the server said.
type hushed struct {
	text string
	err  error
}

func (h *hushed) Error() string { return h.text }
func (h *hushed) Unwrap() error { return h.err }

// hush leaves the server's words away where they may quote the object: a
// server that does not accept a value says which ("Invalid value: …"). What it
// means, and the fields that it names, stay.
func hush(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	s := status.Status()
	switch s.Code {
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusConflict:
		return err // they speak of names alone
	}
	text := fmt.Sprintf("the API server refuses it (%d %s)", s.Code, s.Reason)
	if names := fields(s); names != "" {
		text += ": " + names
	}
	text += "; what it says about it is left out, because the object holds secrets"
	for _, known := range []error{ErrUncertain, ErrDenied} {
		if errors.Is(err, known) {
			text = known.Error() + ": " + text
		}
	}
	return &hushed{text: text, err: err}
}

// fields gives the fields that a server names as the causes. A key of a map
// may hold anything, and is not a value.
func fields(s metav1.Status) string {
	var names []string
	if s.Details != nil {
		for _, c := range s.Details.Causes {
			if c.Field != "" {
				names = append(names, c.Field)
			}
		}
	}
	return strings.Join(names, ", ")
}
