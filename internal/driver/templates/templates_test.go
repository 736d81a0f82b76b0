package templates_test

import (
	"strings"
	"testing"
	"text/template"

	"trueup.dev/trueup/internal/driver/templates"
)

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .a }} {{ if .b }}{{ .c.d }}{{ else }}{{ $.e }}{{ end }}": "a b c e",
		"{{ range .hosts }}{{ .name }}{{ $.port }}{{ end }}":         "hosts port",
		"plain text":                        "",
		"{{ . }}":                           "! stands for all",
		"{{ range (slice .a 1) }}{{ end }}": "! a variable only",
		`{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`:                               "! templates within",
		"{{ range .a }}{{ range $.a }}{{ range $.a }}{{ range $.a }}{{ end }}{{ end }}{{ end }}{{ end }}": "! more than 3 loops",
	} {
		parsed, err := template.New("t").Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		names, err := templates.Names(parsed.Root)
		if bad, refused := strings.CutPrefix(want, "! "); refused {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s gives %v, %v", text, names, err)
			}
		} else if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%s gives %v, %v", text, names, err)
		}
	}
}
