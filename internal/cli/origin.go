package cli

import (
	"strings"

	"trueup.dev/trueup/internal/store"
)

// originFacts says who proposed, approved and merged a commit, as pairs of a
// name and a text.
func originFacts(o *store.Origin) [][2]string {
	if o == nil {
		return nil
	}
	var out [][2]string
	add := func(name string, parts ...string) {
		text := strings.Join(nonEmpty(parts), ", ")
		if text != "" {
			out = append(out, [2]string{name, text})
		}
	}
	if o.Number != 0 {
		title := o.Request()
		if o.Title != "" {
			title += " \"" + o.Title + "\""
		}
		add("through", title, o.URL)
	}
	add("proposed by", o.Proposed.String())
	add("approved by", o.Approvers()...)
	add("merged by", o.Merged.String())
	add("commit", o.CommitURL)
	return out
}

// through names the pull request and whoever proposed it, in a cell.
func through(o *store.Origin) string {
	text := o.Request()
	if text != "" && o.Proposed.String() != "" {
		text += " by " + o.Proposed.String()
	}
	return text
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
