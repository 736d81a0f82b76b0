package render

import (
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// PullComment is what trueup tells on a pull request, in one comment that is
// kept up to date.
//
//house:exception all that a comment may hold
type PullComment struct {
	// Marker is the invisible first line that the comment is found again by.
	Marker string
	Noun   string // pull request, merge request
	// Head is merged into Base, which is BaseName, in the plan.
	Head, Base, BaseName string
	Planning             bool
	// Refused says why nothing is planned, Failed why it could not be.
	Refused, Failed string
	Findings        plan.Diagnostics
	Targets         []PullTarget
	// Landed is the commit that the merge became, Outcomes what came of it.
	Landed   string
	Outcomes []PullOutcome
	Locks    []string
	// Commands are those that are offered.
	Commands []string
	At       time.Time
	// Limit is the most bytes that the comment may have, Collapse whether
	// <details> works.
	Limit    int
	Collapse bool
}

// PullTarget is one target in the comment. State, Change and Note are shown as
// they are and must hold nothing of a repository; Detail is.
type PullTarget struct {
	ID, Environment string
	State           string // ready, needs approval, refused, failed, …
	Change          string
	Note            string
	Detail          string // a message, shown as code
	Hash, Run, URL  string
	Plan            *plan.Plan
}

// PullOutcome is what became of a target after the merge.
type PullOutcome struct {
	ID, Environment, State, Detail, Run, URL string
}

const (
	maxRows     = 100
	maxFindings = 50
	// spare is kept for the lines at the end.
	spare = 700
)

// Markdown gives the comment's text.
func (c PullComment) Markdown() string {
	w := &commentWriter{limit: max(c.Limit, 2000) - spare}
	w.add(c.Marker + "\n")
	if c.Landed != "" {
		c.outcomes(w)
	}
	c.head(w)
	c.findings(w)
	c.table(w)
	c.details(w)
	w.limit += spare
	c.foot(w)
	return w.b.String()
}

// commentWriter keeps to a size.
type commentWriter struct {
	b     strings.Builder
	limit int
}

// add writes a text if there is room for it.
func (w *commentWriter) add(text string) bool {
	if w.b.Len()+len(text) > w.limit {
		return false
	}
	w.b.WriteString(text)
	return true
}

func (w *commentWriter) addf(format string, args ...any) bool {
	return w.add(fmt.Sprintf(format, args...))
}

func (c PullComment) head(w *commentWriter) {
	w.add("### trueup plan\n\n")
	switch {
	case c.Refused != "":
		w.addf("This %s is not planned: %s.\n\n", c.Noun, Code(c.Refused))
		return
	case c.Planning:
		w.addf("Planning %s …\n\n", Code(Short(c.Head)))
		return
	case c.Failed != "":
		w.addf("**No plan could be made** for %s: %s\n\n", Code(Short(c.Head)), Code(c.Failed))
		return
	case len(c.Targets) == 0 && c.Findings.Err() == nil:
		w.addf("%s merged into %s (%s) concerns no target.\n\n", Code(Short(c.Head)), Code(c.BaseName), Code(Short(c.Base)))
		return
	}
	when := "would do now"
	if c.Landed != "" {
		when = "would do, as it was planned before the merge"
	}
	w.addf("What merging %s into %s (%s) "+when+".\n\n", Code(Short(c.Head)), Code(c.BaseName), Code(Short(c.Base)))
}

func (c PullComment) findings(w *commentWriter) {
	if len(c.Findings) == 0 {
		return
	}
	errs := len(c.Findings.Errors())
	switch {
	case errs > 0:
		w.addf("**%d %s** in the configuration; the targets concerned would stay as they are:\n\n", errs, plural(errs, "mistake", "mistakes"))
	default:
		w.add("Remarks on the configuration:\n\n")
	}
	for i, d := range append(c.Findings.Errors(), c.Findings.Warnings()...) {
		if i == maxFindings {
			w.addf("- … and %d more\n", len(c.Findings)-i)
			break
		}
		line := "- " + Code(d.Source.String()) + " " + Code(strings.TrimPrefix(d.Field+": "+d.Message, ": "))
		if d.Mend != "" {
			line += " → " + Code(d.Mend)
		}
		if !w.add(line + "\n") {
			break
		}
	}
	w.add("\n")
}

func (c PullComment) table(w *commentWriter) {
	if len(c.Targets) == 0 {
		return
	}
	w.add("| Target | Environment | Plan | State |\n| --- | --- | --- | --- |\n")
	for i, t := range c.Targets {
		row := fmt.Sprintf("| %s | %s | %s | %s |\n", Code(t.ID), Code(t.Environment), t.Change, t.state())
		if i == maxRows || !w.add(row) {
			w.addf("| … and %d more | | | |\n", len(c.Targets)-i)
			break
		}
	}
	w.add("\n")
}

func (t PullTarget) state() string {
	text := t.State
	if t.State != "ready" && t.State != "no change" {
		text = "**" + text + "**"
	}
	if t.Note != "" {
		text += "; " + t.Note
	}
	return text
}

// details writes each target's plan, as many as there is room for.
func (c PullComment) details(w *commentWriter) {
	var left []string
	for _, t := range c.Targets {
		if t.Detail == "" && (t.Plan == nil || t.Plan.Empty()) {
			continue
		}
		if !c.detail(w, t) {
			left = append(left, t.Run)
		}
	}
	if len(left) > 0 {
		text := fmt.Sprintf("%d %s too long for this comment", len(left), plural(len(left), "plan is", "plans are"))
		for i, run := range left {
			if i == 10 {
				text += ", …"
				break
			}
			text += plural(i+1, ": ", ", ") + Code("trueup show "+run)
		}
		w.limit += 400
		w.add(text + "\n\n")
	}
}

// detail writes one target; a plan that is too long is cut where there is room
// for a good part of it.
func (c PullComment) detail(w *commentWriter, t PullTarget) bool {
	var before, after strings.Builder
	if c.Collapse {
		open := ""
		if t.State == "failed" || t.State == "refused" {
			open = " open"
		}
		fmt.Fprintf(&before, "<details%s><summary>%s → %s</summary>\n\n", open, htmlCode(t.ID), htmlCode(t.Environment))
		after.WriteString("\n</details>\n\n")
	} else {
		fmt.Fprintf(&before, "#### %s → %s\n\n", Code(t.ID), Code(t.Environment))
		after.WriteString("\n")
	}
	if t.Detail != "" {
		fmt.Fprintf(&before, "%s\n\n", Code(clipText(t.Detail, 2000)))
	}
	tail := planLinks(t)
	if t.Plan == nil || t.Plan.Empty() {
		return w.add(before.String() + tail + after.String())
	}
	lines := diffLines(t.Plan)
	lines = append(lines, "", "  "+Summary(t.Plan))
	block := fenced("diff", lines)
	if w.add(before.String() + block + tail + after.String()) {
		return true
	}
	room := w.limit - w.b.Len() - before.Len() - after.Len() - len(tail) - 200
	const worth = 1500
	if room < worth {
		return false
	}
	cut := lines
	for n := 0; n < len(lines); n++ {
		if room -= len(lines[n]) + 1; room < 0 {
			cut = append(lines[:n:n], fmt.Sprintf("  … %d more lines: trueup show %s", len(lines)-n, t.Run))
			break
		}
	}
	return w.add(before.String() + fenced("diff", cut) + tail + after.String())
}

func planLinks(t PullTarget) string {
	var parts []string
	if t.Hash != "" {
		parts = append(parts, "Plan "+Code(shortHash(t.Hash)))
	}
	if t.Run != "" {
		parts = append(parts, Code("trueup show "+t.Run))
	}
	if t.URL != "" {
		parts = append(parts, "<"+t.URL+">")
	}
	if len(parts) == 0 {
		return ""
	}
	return "\n" + strings.Join(parts, " · ") + "\n"
}

func shortHash(h string) string {
	if len(h) > 12 {
		return h[:12]
	}
	return h
}

func clipText(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n]) + "…"
	}
	return text
}

func (c PullComment) outcomes(w *commentWriter) {
	w.addf("### trueup apply\n\nMerged; %s is in force.\n\n", Code(Short(c.Landed)))
	if len(c.Outcomes) == 0 {
		w.add("It concerned no target.\n\n")
		return
	}
	w.add("| Target | Environment | Outcome |\n| --- | --- | --- |\n")
	for i, o := range c.Outcomes {
		text := o.State
		if o.Detail != "" {
			text += ": " + Code(clipText(o.Detail, 500))
		}
		if o.Run != "" {
			text += " (" + Code("trueup show "+o.Run) + ")"
		}
		if i == maxRows || !w.addf("| %s | %s | %s |\n", Code(o.ID), Code(o.Environment), text) {
			w.addf("| … and %d more | | |\n", len(c.Outcomes)-i)
			break
		}
	}
	w.add("\n")
}

func (c PullComment) foot(w *commentWriter) {
	if len(c.Locks) > 0 {
		locks := make([]string, 0, len(c.Locks))
		for i, id := range c.Locks {
			if i == 5 {
				locks = append(locks, "…")
				break
			}
			locks = append(locks, Code(id))
		}
		w.addf("Applied before the merge and locked by this %s: %s. `trueup unlock` puts the state of %s in force again.\n\n", c.Noun, strings.Join(locks, ", "), Code(c.BaseName))
	}
	if len(c.Commands) > 0 {
		w.addf("Commands: %s\n", strings.Join(c.Commands, " · "))
	}
}
