package stage

import (
	"slices"
	"strconv"
	"strings"
)

const (
	argoHook       = "argocd.argoproj.io/hook"
	argoHookDelete = "argocd.argoproj.io/hook-delete-policy"
	helmHook       = "helm.sh/hook"
	helmHookWeight = "helm.sh/hook-weight"
	helmHookDelete = "helm.sh/hook-delete-policy"
)

// Phase is when a hook runs.
type Phase string

// The phases: before the ordinary objects; among them, in its wave; after
// they are healthy; when one of the others failed.
const (
	PreSync  Phase = "PreSync"
	Sync     Phase = "Sync"
	PostSync Phase = "PostSync"
	SyncFail Phase = "SyncFail"
)

// Hook is what an object's annotations say about it as a hook.
type Hook struct {
	// Install is the phase in which it runs when the target is applied for the
	// first time, Upgrade the one later on; "" is not at all. Only Helm's hooks
	// tell them apart.
	Install, Upgrade Phase
	// OnFailure has a hook of another phase run as well when the sync failed.
	OnFailure bool
	// Order is its place in the phase: Argo CD's wave, Helm's weight.
	Order int
	// Before deletes what an earlier run left; Succeeded and Failed delete it
	// after it ended.
	Before, Succeeded, Failed bool
	// Annotation is what made it a hook, "annotation: value".
	Annotation string
}

// At gives the phase in which the hook runs, "" for none.
func (h *Hook) At(installed bool) Phase {
	if installed {
		return h.Upgrade
	}
	return h.Install
}

// hook reads the annotations of Argo CD, and where there are none, of Helm.
func (r *reader) hook() {
	switch {
	case r.get(argoHook) != "":
		r.argoHook(r.get(argoHook))
	case r.object.GetAnnotations()[helmHook] != "":
		r.helmHook(r.get(helmHook))
	}
}

func words(text string) []string {
	var out []string
	for _, w := range strings.Split(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

func (r *reader) argoHook(text string) {
	h := &Hook{Annotation: argoHook + ": " + text, Order: r.Wave}
	var phases []Phase
	for _, w := range words(text) {
		switch p := Phase(w); p {
		case "Skip":
			r.LeftOut = h.Annotation
			return
		case PreSync, Sync, PostSync, SyncFail:
			if !slices.Contains(phases, p) {
				phases = append(phases, p)
			}
		case "PreDelete", "PostDelete":
			r.warnf(argoHook, "", "a %s hook is never run: what a target owns is destroyed from the inventory", w)
		default:
			r.errorf(argoHook, "", "there is no hook %q; there are PreSync, Sync, PostSync, SyncFail, PreDelete, PostDelete and Skip", w)
		}
	}
	r.phases(h, argoHook, phases, phases)
	r.policies(h, argoHookDelete, map[string]string{"BeforeHookCreation": "before", "HookSucceeded": "succeeded", "HookFailed": "failed"})
	if h.Install == "" {
		r.LeftOut = h.Annotation
		return
	}
	r.Hook = h
}

// phases takes in when the hook runs. One object can't run twice in one sync,
// except that a failed sync has no other end.
func (r *reader) phases(h *Hook, annotation string, install, upgrade []Phase) {
	one := func(list []Phase) Phase {
		rest := slices.DeleteFunc(slices.Clone(list), func(p Phase) bool { return p == SyncFail })
		switch {
		case len(list) == 0:
			return ""
		case len(rest) == 0:
			return SyncFail
		case len(rest) > 1:
			r.errorf(annotation, "write it once for each, under names of their own", "one object can't be a hook of several phases: %v", rest)
		case len(rest) < len(list) && rest[0] != PostSync:
			r.errorf(annotation, "write it once for each, under names of their own", "one object can't be a hook of %s and of SyncFail", rest[0])
		}
		h.OnFailure = h.OnFailure || len(rest) < len(list)
		return rest[0]
	}
	h.Install = one(install)
	h.Upgrade = h.Install
	if !slices.Equal(install, upgrade) {
		h.Upgrade = one(upgrade)
	}
}

// helmPhases are the phases of Helm's hooks at the first apply and later.
//
// Source: https://helm.sh/docs/topics/charts_hooks/
var helmPhases = map[string][2]Phase{
	"pre-install":  {PreSync, ""},
	"post-install": {PostSync, ""},
	"pre-upgrade":  {"", PreSync},
	"post-upgrade": {"", PostSync},
	// To go back is to apply an earlier commit: an upgrade like any other.
	"pre-rollback":  {},
	"post-rollback": {},
}

func (r *reader) helmHook(text string) {
	h := &Hook{Annotation: helmHook + ": " + text}
	var install, upgrade []Phase
	other := ""
	for _, w := range words(text) {
		p, runs := helmPhases[w]
		switch {
		case runs && p[0] != "":
			install = append(install, p[0])
		case runs && p[1] != "":
			upgrade = append(upgrade, p[1])
		case runs:
		case w == "test" || w == "test-success" || w == "test-failure":
			other = "a test runs only where the chart is installed as a release"
		case w == "pre-delete" || w == "post-delete":
			r.warnf(helmHook, "", "a %s hook is never run: what a target owns is destroyed from the inventory", w)
		case w == "crd-install":
			r.warnf(helmHook, "put it into the chart's crds directory", "a crd-install hook is left out, as Helm does since version 3")
		default:
			r.errorf(helmHook, "", "Helm has no hook %q", w)
		}
	}
	r.phases(h, helmHook, install, upgrade)
	if h.Install == "" && h.Upgrade == "" {
		r.LeftOut = h.Annotation
		if other != "" {
			r.LeftOut += ": " + other
		}
		return
	}
	r.weight(h)
	r.policies(h, helmHookDelete, map[string]string{"before-hook-creation": "before", "hook-succeeded": "succeeded", "hook-failed": "failed"})
	r.Hook = h
}

func (r *reader) weight(h *Hook) {
	text := r.get(helmHookWeight)
	if text == "" {
		h.Order = r.Wave
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > maxWave || n < -maxWave {
		r.errorf(helmHookWeight, `write it in quotes, as "-1" or "5"`, "a weight is an integer, not %q", text)
		return
	}
	h.Order = n
}

// policies reads when the hook's object is deleted.
func (r *reader) policies(h *Hook, annotation string, names map[string]string) {
	list := words(r.get(annotation))
	for _, w := range list {
		switch names[w] {
		case "before":
			h.Before = true
		case "succeeded":
			h.Succeeded = true
		case "failed":
			h.Failed = true
		default:
			r.errorf(annotation, "", "there is no policy %q", w)
		}
	}
	if len(list) == 0 {
		h.Before = true
	}
}
