package render

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// used takes note of functions whose result isn't in the chart: of the
// cluster, of the network, of chance and of the clock.
type used struct {
	names map[string]bool
	// clock is what now gives. It moves between two renderings, so that whatever
	// depends on it shows.
	clock time.Time
	// lookup reads the cluster; nil finds nothing.
	lookup func(apiVersion, kind, namespace, name string) (map[string]any, error)
}

func newUsed() *used {
	return &used{names: map[string]bool{}, clock: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
}

// chance are functions that give something else each time.
var chance = []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4",
	"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
	"bcrypt", "htpasswd", "encryptAES"}

var clocks = []string{"now", "ago"}

// funcs replaces functions of Helm's: those that would ask the world give
// nothing, those that go by the clock get one that stands still, and keys and
// values are sorted, where Helm leaves the order to chance.
func (u *used) funcs() template.FuncMap {
	return template.FuncMap{
		"lookup": func(apiVersion, kind, namespace, name string) (map[string]any, error) {
			u.names["lookup"] = true
			if u.lookup != nil {
				return u.lookup(apiVersion, kind, namespace, name)
			}
			return map[string]any{}, nil
		},
		"getHostByName": func(string) (string, error) {
			u.names["getHostByName"] = true
			return "", nil
		},
		"now": func() time.Time { u.names["now"] = true; return u.clock },
		"ago": func(date any) string {
			u.names["ago"] = true
			if t, ok := date.(time.Time); ok {
				return u.clock.Sub(t).Round(time.Second).String()
			}
			return "0s"
		},
		"keys": func(dicts ...map[string]any) []string {
			var out []string
			for _, d := range dicts {
				out = append(out, sortedKeys(d)...)
			}
			return out
		},
		"values": func(dict map[string]any) []any {
			out := []any{}
			for _, k := range sortedKeys(dict) {
				out = append(out, dict[k])
			}
			return out
		},
	}
}

// warn says where a chart asks what it gets no answer to.
func (u *used) warn(h *release, out *output) {
	for name, text := range map[string]string{
		"lookup":        "lookup gives nothing: rendering asks no cluster",
		"getHostByName": "getHostByName gives nothing: rendering asks no network",
	} {
		if u.names[name] {
			h.out.Diagnostics = append(h.out.Diagnostics, plan.Diagnostic{Severity: plan.Warning, Source: h.where(out, []string{name}, ""),
				Message: text, Mend: "set helm.mode: release if the chart counts on it, or give it the value"})
		}
	}
}

// where finds the first template that calls one of the functions; in is the
// template that is looked at first.
func (h *release) where(out *output, funcs []string, in string) plan.Source {
	call := regexp.MustCompile(`\{\{[^}]*\b(` + strings.Join(funcs, "|") + `)\b`)
	names := sortedKeys(out.sources)
	if in != "" {
		names = slices.Insert(names, 0, in)
	}
	for _, n := range names {
		if at := call.FindIndex(out.sources[n]); at != nil {
			return h.at(h.files.from(out.sources[n]), 1+strings.Count(string(out.sources[n][:at[1]]), "\n"))
		}
	}
	return plan.Source{File: h.file}
}

// same renders once more, and says which objects come out differently.
func (h *release) same(first *output) {
	h.used.clock = h.used.clock.Add(1000*time.Hour + 61*time.Second)
	second, _, err := h.once()
	if err != nil {
		_, d := h.mistake(second, err)
		h.out.Diagnostics.Errorf(d.Source, "", mendChance, "the chart renders at one time and fails at another: %s", d.Message)
		return
	}
	names := map[string]bool{}
	for t := range first.texts {
		names[t] = true
	}
	for t := range second.texts {
		names[t] = true
	}
	for _, t := range sortedKeys(names) {
		if first.texts[t] != second.texts[t] {
			h.differs(t, first, second.texts[t])
		}
	}
}

const mendChance = "give the chart the value that it makes up, name an existing Secret, or set helm.mode: release"

// differs reports the objects of a template that come out differently.
func (h *release) differs(name string, first *output, again string) {
	a, _ := manifest.Lenient("", []byte(first.texts[name]))
	b, _ := manifest.Lenient("", []byte(again))
	at := h.where(first, append(slices.Clone(chance), clocks...), name)
	reported := false
	for i := range min(len(a), len(b)) {
		where := differences(a[i].Value, b[i].Value, "")
		if len(where) == 0 {
			continue
		}
		var ignored plan.Diagnostics
		id := "an object"
		if o := a[i].Objects(&ignored); len(o) == 1 {
			id = o[0].Ref().String()
		}
		reported = true
		h.out.Diagnostics.Errorf(at, "", mendChance, "each rendering gives another %s, at %s: %s", id, strings.Join(where, ", "), h.why())
	}
	if !reported {
		h.out.Diagnostics.Errorf(at, "", mendChance, "each rendering gives another text: %s", h.why())
	}
}

func (h *release) why() string {
	if h.used.names["now"] || h.used.names["ago"] {
		return "it goes by chance or by the clock"
	}
	return "it goes by chance"
}

// differences lists pointers to what differs, the first few.
func differences(a, b any, at string) []string {
	flat := func(x any) map[string]string {
		out := map[string]string{}
		leaves(x, at, func(p string, leaf any) { out[p] = fmt.Sprint(leaf) })
		return out
	}
	x, y := flat(a), flat(b)
	var out []string
	for _, p := range sortedKeys(x) {
		if v, ok := y[p]; !ok || v != x[p] {
			out = append(out, p)
		}
	}
	for _, p := range sortedKeys(y) {
		if _, ok := x[p]; !ok {
			out = append(out, p)
		}
	}
	if len(out) > 3 {
		out = append(out[:3], fmt.Sprintf("and %d more places", len(out)-3))
	}
	return out
}
