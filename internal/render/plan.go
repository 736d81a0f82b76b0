package render

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// View is a plan with what a reader wants to know around it.
type View struct {
	Plan        *plan.Plan
	Hash        string
	Environment string
	Commit      string
	Ref         string
	// Held says what keeps the plan from being applied, Next what to do.
	Held []string
	Next []string
}

// marks are the signs before a change.
var marks = map[plan.Action]string{plan.Create: "+", plan.Update: "~", plan.Replace: "-/+", plan.Delete: "-",
	plan.Adopt: "=", plan.Rename: ">", plan.Disable: "!", plan.Forget: "x", plan.None: " "}

// maxShown bounds how many changes of a plan are shown in full; a plan of ten
// thousand records is read by its summary.
const maxShown = 1000

// Plan writes a plan as a diff.
func Plan(w io.Writer, s Style, v View) error {
	p := &printer{style: s}
	p.head(v)
	for _, u := range unread(v.Plan) {
		p.linef(1, "%s %s could not be read: %s", s.Warn("?"), u.who, Line(u.why))
	}
	shown, changes := 0, 0
	for _, g := range Groups(v.Plan.Changes) {
		if shown == maxShown {
			p.linef(1, "%s", s.Faint(fmt.Sprintf("… and %d more changes; -o json shows all", len(v.Plan.Changes)-changes)))
			break
		}
		p.change(g)
		shown++
		changes += len(g.Scopes)
	}
	for _, d := range v.Plan.Warnings {
		p.linef(1, "%s %s", s.Warn("warning:"), Line(strings.Replace(d.Error(), "warning: ", "", 1)))
	}
	p.linef(0, "%s", s.Bold(Summary(v.Plan)))
	for _, h := range v.Held {
		p.linef(0, "%s %s", s.Warn("Held:"), Line(h))
	}
	if len(v.Held) > 0 && v.Hash != "" {
		p.linef(1, "plan %s", v.Hash)
	}
	for _, n := range v.Next {
		p.linef(1, "%s", n)
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

type printer struct {
	b     bytes.Buffer
	style Style
	scope string
	began bool
}

func (p *printer) linef(indent int, format string, args ...any) {
	p.b.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(&p.b, format, args...)
	p.b.WriteByte('\n')
}

func (p *printer) head(v View) {
	title := p.style.Bold(Line(v.Plan.Target))
	if v.Environment != "" {
		title += " → " + Line(v.Environment)
	}
	if v.Commit != "" {
		at := "commit " + Short(v.Commit)
		if v.Ref != "" {
			at += " (" + Line(v.Ref) + ")"
		}
		title += "  " + p.style.Faint(at)
	}
	if v.Plan.Mode != "" && v.Plan.Mode != plan.Apply {
		title += "  " + p.style.Warn("mode "+string(v.Plan.Mode))
	}
	p.linef(0, "%s", title)
}

// unreadable is why some scopes could not be read.
type unreadable struct{ who, why string }

// unread lists the scopes that could not be read, those with the same reason
// in one line.
func unread(p *plan.Plan) []unreadable {
	by := map[string][]plan.Scope{}
	var order []string
	for _, sc := range p.UnknownScopes() {
		// A reason that names its host is the same reason on each of them.
		why := sc.Unknown
		if sc.Scope != "" {
			why = strings.ReplaceAll(why, string(sc.Scope), "HOST")
		}
		if by[why] == nil {
			order = append(order, why)
		}
		by[why] = append(by[why], sc.Scope)
	}
	var out []unreadable
	for _, why := range order {
		u := unreadable{Scopes(by[why]), why}
		if len(by[why]) == 1 {
			u.why = strings.ReplaceAll(why, "HOST", string(by[why][0]))
		}
		if by[why][0] == "" {
			u.who = "the environment"
		}
		out = append(out, u)
	}
	return out
}

func (p *printer) change(g Group) {
	if scope := Scopes(g.Scopes); scope != p.scope || !p.began {
		p.scope, p.began = scope, true
		if scope != "" {
			p.linef(1, "%s", p.style.Info(scope))
		}
	}
	text := p.mark(g.Action) + " " + Line(string(g.Address))
	if g.From != "" {
		text = p.mark(g.Action) + " " + Line(string(g.From)) + " → " + Line(string(g.Address))
	}
	p.linef(1, "%s%s", text, p.aside(g.Change))
	if g.Conflict != "" {
		p.linef(3, "%s %s", p.style.Warn("conflict:"), Line(g.Conflict))
	}
	if g.Note != "" {
		p.linef(3, "%s", p.style.Faint(Line(g.Note)))
	}
	if g.Action == plan.Adopt || g.Action == plan.Forget {
		return
	}
	for _, l := range Diff(g.Before, g.After, g.Unknown, strings.Split(string(g.Address), "/")...) {
		p.linef(3, "%s", p.diffLine(l))
	}
}

func (p *printer) mark(a plan.Action) string {
	m := marks[a]
	switch a {
	case plan.Create:
		return p.style.Good(m)
	case plan.Delete, plan.Replace, plan.Disable:
		return p.style.Bad(m)
	case plan.Update, plan.Rename:
		return p.style.Warn(m)
	}
	return p.style.Info(m)
}

// aside gives what stands behind a change: why and where it is asked for.
func (p *printer) aside(c plan.Change) string {
	var parts []string
	switch {
	case c.Action == plan.Adopt:
		parts = append(parts, "exists and is equal: taken over")
	case c.Action == plan.Forget:
		parts = append(parts, "given up, not removed")
	case c.Reason == plan.ByDrift:
		parts = append(parts, "drift")
	case c.Reason == plan.ByPrune:
		parts = append(parts, "no longer in Git")
	}
	if at := c.Source.String(); at != "" {
		parts = append(parts, Line(at))
	}
	if c.Simulated {
		parts = append(parts, "effect not known exactly")
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + p.style.Faint("# "+strings.Join(parts, ", "))
}

func (p *printer) diffLine(l DiffLine) string {
	text := strings.Repeat("  ", l.Indent) + l.Text
	switch l.Sign {
	case '+':
		return p.style.Good("+ " + text)
	case '-':
		return p.style.Bad("- " + text)
	case '~':
		return p.style.Warn("~ ") + text
	}
	return "  " + text
}
