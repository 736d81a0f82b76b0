package render

import (
	"fmt"
	"io"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Summary gives one line: what would be done and what is left alone.
func Summary(p *plan.Plan) string {
	n := p.Summary()
	parts := []string{fmt.Sprintf("%d to create", n[plan.Create]), fmt.Sprintf("%d to update", n[plan.Update]),
		fmt.Sprintf("%d to delete", n[plan.Delete])}
	for _, x := range []struct {
		a    plan.Action
		text string
	}{{plan.Replace, "to replace"}, {plan.Rename, "to rename"}, {plan.Disable, "to disable"}, {plan.Adopt, "to adopt"}, {plan.Forget, "to forget"}} {
		if n[x.a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[x.a], x.text))
		}
	}
	unchanged, unmanaged, conflicts := 0, 0, 0
	for _, s := range p.Scopes {
		unchanged += s.Unchanged
		unmanaged += s.Unmanaged
	}
	for i := range p.Changes {
		if p.Changes[i].Conflict != "" {
			conflicts++
		}
	}
	out := "Plan: " + strings.Join(parts, ", ") + fmt.Sprintf("; %d unchanged, %d unmanaged", unchanged, unmanaged)
	if conflicts > 0 {
		out += fmt.Sprintf(", %d in conflict", conflicts)
	}
	if u := len(p.UnknownScopes()); u > 0 {
		out += fmt.Sprintf(", %d %s not readable", u, plural(u, "scope", "scopes"))
	}
	return out
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Results writes what became of the changes: every one that did not succeed,
// and a line that counts all.
func Results(w io.Writer, s Style, results []plan.Result) error {
	count := map[plan.Outcome]int{}
	type trouble struct {
		outcome plan.Outcome
		action  plan.Action
		address plan.Address
		err     string
	}
	scopes := map[trouble][]plan.Scope{}
	var order []trouble
	for _, r := range results {
		count[r.Outcome]++
		if r.Outcome == plan.Applied {
			continue
		}
		t := trouble{r.Outcome, r.Action, r.Address, r.Error}
		if scopes[t] == nil {
			order = append(order, t)
		}
		scopes[t] = append(scopes[t], r.Scope)
	}
	var b strings.Builder
	for _, t := range order {
		name := plan.Key{Scope: plan.Scope(Scopes(scopes[t])), Address: t.address}
		fmt.Fprintf(&b, "  %s %s %s: %s\n", s.Word(string(t.outcome)), t.action, Line(name.String()), Line(t.err))
	}
	line := fmt.Sprintf("Applied: %d", count[plan.Applied])
	for _, o := range []plan.Outcome{plan.Failed, plan.Skipped, plan.Unknown} {
		if count[o] > 0 {
			line += fmt.Sprintf(", %s: %d", o, count[o])
		}
	}
	b.WriteString(s.Bold(line) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Diagnostics writes findings, errors before warnings.
func Diagnostics(w io.Writer, s Style, ds plan.Diagnostics) error {
	var b strings.Builder
	one := func(d plan.Diagnostic, word string) {
		if at := d.Source.String(); at != "" {
			b.WriteString(Line(at) + ": ")
		}
		b.WriteString(word + " ")
		if d.Field != "" {
			b.WriteString(Line(d.Field) + ": ")
		}
		b.WriteString(Line(d.Message) + "\n")
		if d.Mend != "" {
			b.WriteString("    " + s.Faint("→ "+Line(d.Mend)) + "\n")
		}
	}
	for _, d := range ds.Errors() {
		one(d, s.Bad("error:"))
	}
	for _, d := range ds.Warnings() {
		one(d, s.Warn("warning:"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
