package release

import (
	"cmp"
	"context"
	"errors"
	"time"

	helmkube "helm.sh/helm/v4/pkg/kube"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// Release is a release that a target asks for, or one that it owns.
type Release struct {
	Name, Namespace string
	Options         render.ReleaseSpec
	// Render renders the chart for the moments given, for a server with the
	// capabilities given. Nil where a release is only to be removed.
	Render func(ctx context.Context, caps render.Capabilities, moments ...render.Moment) (*render.Result, error)
	// hidden are the secrets of the last rendering.
	hidden *render.Hidden
}

// String gives namespace/name.
func (r *Release) String() string { return r.Namespace + "/" + r.Name }

// storage is the namespace of the records.
func (r *Release) storage() string { return cmp.Or(r.Options.StorageNamespace, r.Namespace) }

func (r *Release) timeout() time.Duration { return cmp.Or(r.Options.Timeout, 5*time.Minute) }

func (r *Release) maxHistory() int { return cmp.Or(r.Options.MaxHistory, 10) }

func (r *Release) crds() string { return cmp.Or(r.Options.CRDs, render.CRDsCreate) }

func (r *Release) strategy() helmkube.WaitStrategy {
	switch r.Options.Wait {
	case render.WaitLegacy:
		return helmkube.LegacyStrategy
	case render.WaitNone:
		return helmkube.HookOnlyStrategy
	}
	return helmkube.StatusWatcherStrategy
}

// scrub masks the secrets of the release in a text: errors of Helm and of the
// API server quote values.
func (r *Release) scrub(text string) string {
	if r.hidden == nil {
		return text
	}
	return r.hidden.Scrub(text)
}

// masked is an error whose text is cleaned; what it wraps can still be told.
type masked struct {
	text string
	err  error
}

// Error gives the cleaned text.
func (m *masked) Error() string { return m.text }

// Is and As look into what is wrapped; Unwrap would show its text.
func (m *masked) Is(target error) bool { return errors.Is(m.err, target) }

// As finds an error of a type in what is wrapped.
func (m *masked) As(target any) bool { return errors.As(m.err, target) }

// clean masks an error.
func (r *Release) clean(err error) error {
	if err == nil {
		return nil
	}
	text := r.scrub(err.Error())
	if text == err.Error() {
		return err
	}
	return &masked{text, err}
}
