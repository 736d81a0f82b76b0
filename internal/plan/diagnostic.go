package plan

import (
	"fmt"
	"strings"
)

// Severity tells an error from a warning.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one finding in the desired state or the configuration: where
// it is, what was found, what was expected and how to mend it.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Source
	// Field is the path of the field in a structured file: targets[0].path.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	// Mend says how to put it right.
	Mend string `json:"mend,omitempty"`
}

// Error gives the diagnostic on one line.
func (d Diagnostic) Error() string {
	var b strings.Builder
	if at := d.Source.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	if d.Field != "" {
		b.WriteString(d.Field + ": ")
	}
	b.WriteString(d.Message)
	if d.Mend != "" {
		b.WriteString(" (" + d.Mend + ")")
	}
	return b.String()
}

// Diagnostics is a list of findings. As an error it prints all of them.
type Diagnostics []Diagnostic

// Error gives one finding a line.
func (d Diagnostics) Error() string {
	lines := make([]string, len(d))
	for i := range d {
		lines[i] = d[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Errorf appends an error at a place.
func (d *Diagnostics) Errorf(at Source, field, mend, format string, args ...any) {
	*d = append(*d, Diagnostic{Severity: Error, Source: at, Field: field, Mend: mend, Message: fmt.Sprintf(format, args...)})
}

// Warnf appends a warning at a place.
func (d *Diagnostics) Warnf(at Source, field, mend, format string, args ...any) {
	*d = append(*d, Diagnostic{Severity: Warning, Source: at, Field: field, Mend: mend, Message: fmt.Sprintf(format, args...)})
}

// Errors gives the findings that are errors.
func (d Diagnostics) Errors() Diagnostics { return d.only(Error) }

// Warnings gives the findings that are warnings.
func (d Diagnostics) Warnings() Diagnostics { return d.only(Warning) }

func (d Diagnostics) only(s Severity) Diagnostics {
	var out Diagnostics
	for _, x := range d {
		if x.Severity == s {
			out = append(out, x)
		}
	}
	return out
}

// Err gives the errors among the findings as an error, or nil.
func (d Diagnostics) Err() error {
	if e := d.Errors(); len(e) > 0 {
		return e
	}
	return nil
}
