package engine

import (
	"strings"

	"trueup.dev/trueup/internal/render"
)

// shortestHash is how many letters of a plan's hash name it.
const shortestHash = 8

// hashed tells whether a word is the beginning of the plan's hash, and not the
// name of its target, which may look like one.
func (t *pullTarget) hashed(word string) bool {
	return !t.called(word) && len(word) >= shortestHash && strings.HasPrefix(t.Hash, strings.ToLower(word))
}

// called tells whether a word is the target's id or its name.
func (t *pullTarget) called(word string) bool {
	_, name, _ := strings.Cut(t.ID, "/")
	return t.ID == word || name == word
}

// choose finds a plan by its hash, or by the target's id or name. A word that
// fits two plans stands for neither: whoever proposes a change gives names to
// targets.
func choose(waiting []*pullTarget, arg string) (*pullTarget, error) {
	if arg == "" && len(waiting) > 0 {
		return nil, refusef("say which plan: %s", planChoices(waiting))
	}
	var found []*pullTarget
	for _, t := range waiting {
		if t.called(arg) || t.hashed(arg) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, refusef("that fits more than one plan; there are: %s", planChoices(waiting))
	case len(waiting) == 0:
		return nil, refusef("there is no plan to approve")
	}
	return nil, refusef("none of the plans is called that, or it was superseded; there are: %s", planChoices(waiting))
}

func planChoices(waiting []*pullTarget) string {
	var out []string
	for i, t := range waiting {
		if i == 10 {
			out = append(out, "…")
			break
		}
		out = append(out, render.Code("trueup approve "+t.Hash[:12])+" ("+render.Code(t.ID)+")")
	}
	return strings.Join(out, ", ")
}
