package flux

import (
	"trueup.dev/trueup/internal/handover"
)

// Safe tells whether deleting a definition leaves alone what it applied, as
// Flux's controllers behave. Ok is false for objects that apply nothing.
func Safe(o *handover.Object) (d handover.Definition, ok bool) {
	d = handover.Definition{Object: o.String()}
	d.Holds, _ = Inventory(o)
	spec, _ := o.Object["spec"].(map[string]any)
	suspended := spec["suspend"] == true
	theirs, _ := o.Finalizers(finalizer)
	free := len(theirs) == 0
	switch {
	case o.Is(kustomizeGroup, "Kustomization"):
		off := spec["deletionPolicy"] == "Orphan" || spec["prune"] != true && (spec["deletionPolicy"] == nil || spec["deletionPolicy"] == "" || spec["deletionPolicy"] == "MirrorPrune")
		d.Safe = suspended && off
		d.Why = missing(suspended, "it is not suspended", off, "pruning is on")
	case o.Is(helmGroup, "HelmRelease"):
		d.Safe, d.Release = suspended, releaseOf(o)
		d.Why = missing(suspended, "it is not suspended: deleting it uninstalls the release")
	default:
		return d, false
	}
	if d.Safe {
		d.Why = []string{"suspended, pruning off"}
		if o.GetKind() == "HelmRelease" {
			d.Why = []string{"suspended"}
		}
		if free {
			d.Why = append(d.Why, "no finalizer")
		}
	}
	if o.GetDeletionTimestamp() != nil {
		d.Why = append(d.Why, "it is being deleted")
	}
	return d, true
}

// releaseOf is the Helm release that a HelmRelease has made.
func releaseOf(o *handover.Object) string {
	if n := latest(o, "name"); n != "" {
		return latest(o, "namespace") + "/" + n
	}
	return ""
}

// missing lists the texts whose condition does not hold.
func missing(pairs ...any) []string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if holds, _ := pairs[i].(bool); !holds {
			text, _ := pairs[i+1].(string)
			out = append(out, text)
		}
	}
	return out
}
