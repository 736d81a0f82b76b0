// Package stage decides in which order a plan's objects are written and
// removed, and what their annotations say about that: waves, hooks, what must
// not be deleted, what may be recreated. It is pure: nothing is connected to.
package stage

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// The annotations of trueup's own.
const (
	WaveAnnotation        = "trueup.dev/wave"
	PruneAnnotation       = "trueup.dev/prune"              // disabled, confirm
	RecreateAnnotation    = "trueup.dev/recreate"           // allowed
	PropagationAnnotation = "trueup.dev/delete-propagation" // foreground, background, orphan
)

const (
	argoWave     = "argocd.argoproj.io/sync-wave"
	argoOptions  = "argocd.argoproj.io/sync-options"
	argoHealth   = "argocd.argoproj.io/ignore-healthcheck"
	fluxPrune    = "kustomize.toolkit.fluxcd.io/prune"
	fluxForce    = "kustomize.toolkit.fluxcd.io/force"
	helmResource = "helm.sh/resource-policy"
)

// Marks are what an object's annotations say about how it is applied and
// removed. Where a field names an annotation, it is "annotation: value", to be
// shown.
type Marks struct {
	Wave int
	// Placed tells that the wave was written down; otherwise it is 0 by default.
	Placed bool
	// Hook is nil for an ordinary object.
	Hook *Hook
	// LeftOut is why the object is not applied at all, neither as a hook.
	LeftOut string
	// Keep names the annotation by which the object is never deleted, Confirm
	// the one by which that needs an approval, Recreate the one that allows to
	// delete and create it anew where it can't be changed in place.
	Keep, Confirm, Recreate string
	// Propagation is what was asked for; "" is the kind's own (Propagation).
	Propagation metav1.DeletionPropagation
	// AnyHealth tells that nobody waits for the object to get healthy.
	AnyHealth bool
}

// Read reads the marks of a desired object, and what is wrong with them.
func Read(o *manifest.Object) (Marks, plan.Diagnostics) {
	r := reader{object: o.Unstructured, at: o.Source}
	r.read()
	return r.Marks, r.found
}

// Of reads the marks of a live object, or of one as it was last applied. What
// is wrong with them is not theirs to tell.
func Of(u *unstructured.Unstructured) Marks {
	if u == nil {
		return Marks{}
	}
	r := reader{object: u}
	r.read()
	return r.Marks
}

type reader struct {
	Marks
	object *unstructured.Unstructured
	at     plan.Source
	found  plan.Diagnostics
}

func (r *reader) read() {
	r.wave()
	r.prune()
	r.recreate()
	r.propagation()
	r.options()
	r.AnyHealth = r.get(argoHealth) == "true"
	r.hook()
}

func (r *reader) get(name string) string { return strings.TrimSpace(r.object.GetAnnotations()[name]) }

func (r *reader) errorf(annotation, mend, format string, args ...any) {
	r.found.Errorf(r.at, "metadata.annotations."+annotation, mend, string(manifest.RefOf(r.object).Address())+": "+format, args...)
}

func (r *reader) warnf(annotation, mend, format string, args ...any) {
	r.found.Warnf(r.at, "metadata.annotations."+annotation, mend, string(manifest.RefOf(r.object).Address())+": "+format, args...)
}

// maxWave bounds waves, so that sums and differences of them stay numbers.
const maxWave = 1 << 30

func (r *reader) wave() {
	for _, name := range []string{WaveAnnotation, argoWave} {
		text := r.get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n > maxWave || n < -maxWave {
			r.errorf(name, `write it in quotes, as "-1" or "5"`, "a wave is an integer, not %q", text)
			continue
		}
		r.Wave, r.Placed = n, true
		return
	}
}

func (r *reader) prune() {
	switch v := r.get(PruneAnnotation); v {
	case "", "enabled":
	case "disabled", "confirm":
		r.held(PruneAnnotation+": "+v, v == "confirm")
	default:
		r.errorf(PruneAnnotation, "", "%q is not known; enabled, disabled and confirm are", v)
		// Rather keep what may have been meant to be kept.
		r.held(PruneAnnotation+": "+v, true)
	}
	if r.get(fluxPrune) == "disabled" || strings.TrimSpace(r.object.GetLabels()[fluxPrune]) == "disabled" {
		r.held(fluxPrune+": disabled", false)
	}
	if v := r.get(helmResource); strings.EqualFold(v, "keep") {
		r.held(helmResource+": keep", false)
	}
}

// held notes what keeps the object from being deleted; the first one is shown.
func (r *reader) held(annotation string, confirm bool) {
	switch {
	case confirm && r.Confirm == "":
		r.Confirm = annotation
	case !confirm && r.Keep == "":
		r.Keep = annotation
	}
}

func (r *reader) recreate() {
	switch v := r.get(RecreateAnnotation); v {
	case "":
	case "allowed":
		r.Recreate = RecreateAnnotation + ": allowed"
	default:
		r.errorf(RecreateAnnotation, "", "%q is not known; allowed is", v)
	}
	if strings.EqualFold(r.get(fluxForce), "enabled") && r.Recreate == "" {
		r.Recreate = fluxForce + ": enabled"
	}
}

var propagations = map[string]metav1.DeletionPropagation{
	"foreground": metav1.DeletePropagationForeground,
	"background": metav1.DeletePropagationBackground,
	"orphan":     metav1.DeletePropagationOrphan,
}

func (r *reader) propagation() {
	v := r.get(PropagationAnnotation)
	if v == "" {
		return
	}
	p, ok := propagations[v]
	if !ok {
		r.errorf(PropagationAnnotation, "", "%q is not known; foreground, background and orphan are", v)
		return
	}
	r.Propagation = p
}
