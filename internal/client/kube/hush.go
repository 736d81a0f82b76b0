package kube

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// aboutHooks are messages about admission webhooks that quote nothing of the
// object: their beginnings, in the server's own words.
var aboutHooks = regexp.MustCompile(`^(?:Internal error occurred: )?(?:failed calling webhook "[^"]*"|admission webhook "[^"]*" does not support dry run)`)

// hush leaves the server's words away where they may quote the object: a
// server that does not accept a value says which ("Invalid value: …"). What
// kind of refusal it is, and the fields that it names, stay.
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
	message := aboutHooks.FindString(s.Message)
	if message == "" {
		message = fmt.Sprintf("the API server refuses it (%d %s)", s.Code, s.Reason)
	}
	if s.Details != nil {
		d := *s.Details
		s.Details, d.Causes = &d, causes(d.Causes)
		for i, c := range d.Causes {
			message += fmt.Sprintf("%s %s: %s", strings.Repeat(",", min(i, 1)), c.Field, c.Type)
		}
	}
	s.Message = message + "; the rest of the message is left out, because the object holds secrets"
	return &apierrors.StatusError{ErrStatus: s}
}

// causes keeps of the causes which fields they are about.
func causes(list []metav1.StatusCause) (out []metav1.StatusCause) {
	for _, c := range list {
		if c.Field != "" || c.Type == metav1.CauseTypeUnexpectedServerResponse {
			out = append(out, metav1.StatusCause{Type: c.Type, Field: c.Field})
		}
	}
	return out
}
