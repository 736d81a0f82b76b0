package render

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// mark notes in every object which values must not show and which are known
// only later.
func (r *run) mark() {
	var kept []manifest.Object
	for i := range r.out.Objects {
		o := &r.out.Objects[i]
		o.Sensitive, o.Unknown = r.marks(o)
		if id := o.Ref().String(); later(id) {
			r.note("%s: what an object at %s is called is known only later", o.Source.File, o.Source)
			continue
		}
		kept = append(kept, *o)
	}
	r.out.Objects = kept
}

// Bounds of the mistakes of a rendering, and of the text of each: they go into
// the store, and to forges.
const (
	maxMessage  = 1000
	maxMistakes = 500
)

// scrub takes secrets out of the messages.
func (r *run) scrub() {
	if n := len(r.out.Diagnostics); n > maxMistakes {
		slices.SortStableFunc(r.out.Diagnostics, func(a, b plan.Diagnostic) int { // errors stay before warnings
			return cmp.Compare(weight(a), weight(b))
		})
		first := r.out.Diagnostics[0].Severity
		r.out.Diagnostics = append(slices.Clone(r.out.Diagnostics[:maxMistakes-1]), plan.Diagnostic{Severity: first,
			Source: plan.Source{File: r.in.Path}, Message: fmt.Sprintf("there are %d more mistakes and warnings", n-maxMistakes+1)})
	}
	for i := range r.out.Diagnostics {
		d := &r.out.Diagnostics[i]
		d.Message, d.Mend, d.Field = r.files.secrets.scrub(d.Message), r.files.secrets.scrub(d.Mend), r.files.secrets.scrub(d.Field)
		if m := []rune(d.Message); len(m) > maxMessage {
			d.Message = string(m[:maxMessage]) + "…"
		}
	}
}

func weight(d plan.Diagnostic) int {
	if d.Severity == plan.Error {
		return 0
	}
	return 1
}

func (r *run) marks(o *manifest.Object) (sensitive, unknown []string) {
	look := !r.files.secrets.empty()
	if !look && len(r.files.notes) == 0 && len(r.values) == 0 {
		return nil, nil
	}
	leaves(o.Object, "", func(at string, leaf any) {
		if openFields[at] {
			return
		}
		if look && r.files.secrets.holds(o.Source.File, leaf) {
			sensitive = append(sensitive, at)
		}
		if s, ok := leaf.(string); ok && laterDeep(s, 3) {
			unknown = append(unknown, at)
		}
	})
	return sensitive, unknown
}

// later tells whether a text has a part that is known only later: a value of
// another target, or what stays encrypted here.
func later(s string) bool {
	if laterForm.MatchString(s) || sealedForm.MatchString(s) {
		return true
	}
	if !strings.Contains(s, "%") {
		return false
	}
	plain, err := url.QueryUnescape(s)
	return err == nil && (laterForm.MatchString(plain) || sealedForm.MatchString(plain))
}

// laterDeep looks into what is encoded as well.
func laterDeep(s string, depth int) bool {
	if later(s) {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, run := range base64Run.FindAllString(s, -1) {
		if plain, ok := fromBase64(run); ok && laterDeep(plain, depth-1) {
			return true
		}
	}
	return false
}

// soften makes warnings of mistakes in a rendering that had to do without some
// of its inputs: they may come from that.
func (r *run) soften() {
	if len(r.files.notes) == 0 && !r.unknownUsed() {
		return
	}
	for i := range r.out.Diagnostics {
		if d := &r.out.Diagnostics[i]; d.Severity == plan.Error {
			d.Severity = plan.Warning
			d.Message += " (perhaps because a value is not known here)"
			r.note("%s could not be rendered without values that are not known here", r.in.Path)
		}
	}
}

func (r *run) unknownUsed() bool { return len(r.waits()) > 0 }

// waits gives the names of used values that are not known yet.
func (r *run) waits() []string {
	return r.unknown(sortedKeys(r.values))
}

// unknown gives those names whose values are not known yet.
func (r *run) unknown(names []string) []string {
	var out []string
	for _, name := range names {
		if o, ok := r.in.Values[name]; !ok || o.Unknown {
			out = append(out, name)
		}
	}
	return out
}

// undecided notes that a program had to do without a value: what it leaves out
// or sets otherwise for that does not show, and is not what is asked for.
func (r *run) undecided(file string, names []string) {
	for _, n := range names {
		r.note("what %s makes may depend on the value %s, which is not known yet", file, n)
	}
}
