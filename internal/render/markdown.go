package render

import (
	"fmt"
	"html"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// What comes from a repository or an environment goes into Markdown as code
// alone, in a span or a fenced block: there it forms no links, images, HTML,
// mentions or commands of the forge. It can't end the span or the block
// either, for their ticks are more than any run of ticks inside.

// Code gives a text as a code span on one line, fit for a table.
func Code(text string) string {
	text = strings.TrimSpace(Line(text))
	if text == "" {
		return ""
	}
	ticks := strings.Repeat("`", longestRun(text)+1)
	pad := ""
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		pad = " "
	}
	return ticks + pad + strings.ReplaceAll(text, "|", `\|`) + pad + ticks
}

// htmlCode gives a text as code in HTML.
func htmlCode(text string) string { return "<code>" + html.EscapeString(Line(text)) + "</code>" }

// longestRun gives the length of the longest run of backticks.
func longestRun(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// fenced gives lines as a block of a language.
func fenced(language string, lines []string) string {
	n := 2
	for _, l := range lines {
		n = max(n, longestRun(l))
	}
	fence := strings.Repeat("`", n+1)
	return fence + language + "\n" + strings.Join(lines, "\n") + "\n" + fence + "\n"
}

// diffLines gives a plan's changes as a diff that forges colour: the sign
// stands first on each line.
func diffLines(p *plan.Plan) []string {
	var out []string
	add := func(sign byte, indent int, text string) {
		out = append(out, strings.TrimRight(string(sign)+" "+strings.Repeat("  ", indent)+text, " "))
	}
	scope := ""
	for _, u := range unread(p) {
		add(' ', 0, fmt.Sprintf("? %s could not be read: %s", u.who, Line(u.why)))
	}
	for n, g := range Groups(p.Changes) {
		if at := Scopes(g.Scopes); at != scope && at != "" {
			scope = at
			add(' ', 0, "# "+at)
		}
		if n == maxShown {
			add(' ', 0, "… and more changes")
			break
		}
		name := Line(string(g.Address))
		if g.From != "" {
			name = Line(string(g.From)) + " → " + name
		}
		c := &printer{}
		sign := diffSign(g.Action)
		add(sign, 0, actionWord(g.Action)+name+c.aside(g.Change))
		if g.Conflict != "" {
			add('!', 2, "conflict: "+Line(g.Conflict))
		}
		if g.Note != "" {
			add(' ', 2, Line(g.Note))
		}
		if g.Action == plan.Adopt || g.Action == plan.Forget {
			continue
		}
		for _, l := range Diff(g.Before, g.After, g.Unknown, strings.Split(string(g.Address), "/")...) {
			s := l.Sign
			if s == '~' {
				s = '!'
			}
			add(s, l.Indent+2, l.Text)
		}
	}
	for _, d := range p.Warnings {
		add('!', 0, Line(d.Error()))
	}
	return out
}

// diffSign gives the sign that stands for an action: added, removed, changed.
func diffSign(a plan.Action) byte {
	switch a {
	case plan.Create:
		return '+'
	case plan.Delete:
		return '-'
	case plan.Update, plan.Replace, plan.Rename, plan.Disable:
		return '!'
	}
	return ' '
}

// actionWord names the actions that the sign alone does not tell.
func actionWord(a plan.Action) string {
	switch a {
	case plan.Create, plan.Delete, plan.Update, plan.None:
		return ""
	}
	return string(a) + " "
}
