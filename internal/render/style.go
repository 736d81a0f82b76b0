// Package render writes plans, results and tables for people: coloured where
// a terminal asks for it, plain everywhere else.
package render

import (
	"io"
	"os"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

// Style colours text, or leaves it as it is.
type Style struct{ color bool }

// Plain is the style without colours.
var Plain = Style{}

// Colored is the style with colours.
var Colored = Style{color: true}

// For gives the style for a writer: colours only on a terminal, and never with
// NO_COLOR or a dumb terminal.
func For(w io.Writer) Style {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return Plain
	}
	return Style{color: IsTerminal(w)}
}

// IsTerminal tells whether a writer is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

var (
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	cyan   = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	faint  = lipgloss.NewStyle().Faint(true)
	bold   = lipgloss.NewStyle().Bold(true)
)

func (s Style) with(st lipgloss.Style, text string) string {
	if !s.color || text == "" {
		return text
	}
	return st.Inline(true).Render(text)
}

// Good marks what is as it should be, and what is added.
func (s Style) Good(t string) string { return s.with(green, t) }

// Bad marks failures, and what is removed.
func (s Style) Bad(t string) string { return s.with(red, t) }

// Warn marks what wants attention, and what is changed.
func (s Style) Warn(t string) string { return s.with(yellow, t) }

// Info marks names that head a part.
func (s Style) Info(t string) string { return s.with(cyan, t) }

// Faint marks what matters less.
func (s Style) Faint(t string) string { return s.with(faint, t) }

// Bold marks what matters most.
func (s Style) Bold(t string) string { return s.with(bold, t) }

// Word colours a phase or a state by what it means.
func (s Style) Word(w string) string {
	switch w {
	case "synced", "succeeded", "nochange", "ok", "applied", "active":
		return s.Good(w)
	case "failed", "abandoned", "cancelled", "invalid", "orphaned", "unreachable":
		return s.Bad(w)
	case "held", "outofsync", "partial", "warning", "pending", "unknown", "skipped", "behind", "rolledback":
		return s.Warn(w)
	case "running", "rolling":
		return s.Info(w)
	}
	return w
}

// Clean makes text from a repository or an environment safe for a terminal:
// control characters, which could move the cursor or hide text, are replaced;
// line breaks stay.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || bidi(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// bidi tells whether a character changes the direction of the text around it.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

// Line is Clean on one line.
func Line(text string) string { return strings.ReplaceAll(Clean(text), "\n", " ") }
