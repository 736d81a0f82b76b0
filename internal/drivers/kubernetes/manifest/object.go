// Package manifest has the desired Kubernetes objects as they pass from
// rendering to planning and applying: each with the place in Git that asks
// for it, and the references and addresses that name objects.
package manifest

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/plan"
)

// Object is one desired object.
type Object struct {
	*unstructured.Unstructured
	// Source is the file and line that ask for it; of what a generator made,
	// the file that is nearest.
	Source plan.Source
	// Sensitive are JSON pointers (RFC 6901) to values that must not show,
	// beside the data of Secrets, which never does: what was decrypted, what
	// comes from a sensitive output.
	Sensitive []string
	// Unknown are JSON pointers to values that are known only after another
	// target is applied.
	Unknown []string
}

// Ref gives the object's reference.
func (o *Object) Ref() Ref { return RefOf(o.Unstructured) }
