package handover

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Definition tells whether an old definition can be deleted without touching
// what it applied.
type Definition struct {
	Object string   `json:"object"`
	Safe   bool     `json:"safe"`
	Why    []string `json:"why,omitempty"` // what is missing, or what makes it safe
	// Holds is what the old tool says that it applied; nil where it does not
	// say.
	Holds []manifest.Ref `json:"-"`
	// Release is namespace/name of the Helm release that it stands for.
	Release string `json:"release,omitempty"`
}

// Verdicts on an object.
const (
	Adopted   = "adopted"          // trueup owns it
	Waiting   = "not adopted yet"  // a target renders it, but trueup has not applied it
	Ownerless = "without an owner" // no target renders it
	Gone      = "gone"             // the old tool lists it, but it is not there
	Tool      = "the tool's own"   // goes with the tool
	Added     = "new"              // a target renders it, and the old tool never applied it
	Unclear   = "not known"        // it could not be looked at
)

// Finding is what was found of one object.
type Finding struct {
	Object  string `json:"object"`
	Of      string `json:"of,omitempty"`     // the old definition
	Target  string `json:"target,omitempty"` // the new one
	Verdict string `json:"verdict"`
	Note    string `json:"note,omitempty"`
}

// Report is the answer to whether the old definitions can go.
type Report struct {
	Safe        bool         `json:"safe"`
	Definitions []Definition `json:"definitions"`
	Objects     []Finding    `json:"objects"`
	// Open says what could not be found out.
	Open []string `json:"open,omitempty"`
}

// Live is what a cluster says of an object.
type Live struct {
	There, Ours bool   // it exists; trueup is a field manager of it
	Release     string // namespace/name of the Helm release that has it
	Err         error
}

// New is what the new targets have.
type New struct {
	Objects  map[manifest.Ref]string // object -> target; nil if no target was looked at
	Releases map[string]string       // namespace/name of a Helm release -> target
	// Owned is what trueup has on record: object -> target. Without it (nil)
	// the field managers tell; they say nothing of an object without fields.
	Owned map[manifest.Ref]string
	// Open says of which targets it is not known what they render; who is the
	// field manager then decides.
	Open []string
}

// Compare puts together what the old tool holds, what the new targets render
// and what is there.
func Compare(old []Definition, n New, own func(manifest.Ref) bool, look func(manifest.Ref) Live) *Report {
	r := &Report{Safe: true, Definitions: old, Open: n.Open}
	held := map[manifest.Ref]bool{}
	for _, d := range old {
		r.Safe = r.Safe && d.Safe
		if d.Release != "" && d.Holds == nil {
			r.release(d, n)
		}
		for _, ref := range d.Holds {
			if held[ref] {
				continue
			}
			held[ref] = true
			f := Finding{Object: ref.String(), Of: d.Object, Target: n.Objects[ref]}
			if own(ref) {
				f.Verdict = Tool
			} else {
				n.judge(&f, ref, look(ref))
			}
			r.Safe = r.Safe && slices.Contains([]string{Adopted, Gone, Tool}, f.Verdict)
			r.Objects = append(r.Objects, f)
		}
	}
	for ref, t := range n.Objects {
		if !held[ref] && !own(ref) {
			r.Objects = append(r.Objects, Finding{Object: ref.String(), Target: t, Verdict: Added})
		}
	}
	slices.SortFunc(r.Objects, func(a, b Finding) int { return strings.Compare(a.Object, b.Object) })
	return r
}

// release judges a Helm release of which the old tool lists no objects.
func (r *Report) release(d Definition, n New) {
	f := Finding{Object: "Helm release " + d.Release, Of: d.Object, Target: n.Releases[d.Release], Verdict: Adopted}
	switch {
	case f.Target != "":
	case n.Objects == nil || len(n.Open) > 0:
		r.Open = append(r.Open, "whether a target has the Helm release "+d.Release)
		return
	default:
		f.Verdict, f.Note = Ownerless, "no target has this release; where a target applies its objects as manifests, look at them with helm get manifest"
		r.Safe = false
	}
	r.Objects = append(r.Objects, f)
}

func (n New) judge(f *Finding, ref manifest.Ref, l Live) {
	release, ours := n.Releases[l.Release], l.Ours
	if n.Owned != nil {
		ours = n.Owned[ref] != ""
	}
	if f.Target == "" && n.Objects == nil {
		f.Target = n.Owned[ref]
	}
	switch {
	case l.Err != nil:
		f.Verdict, f.Note = Unclear, l.Err.Error()
	case !l.There:
		f.Verdict = Gone
	case l.Release != "" && release != "":
		f.Verdict, f.Target = Adopted, release
	case ours && (f.Target != "" || n.Objects == nil || len(n.Open) > 0):
		f.Verdict = Adopted
	case f.Target != "":
		f.Verdict, f.Note = Waiting, "apply the target first"
	case n.Objects == nil || len(n.Open) > 0:
		f.Verdict, f.Note = Ownerless, "no target owns it"
	default:
		f.Verdict, f.Note = Ownerless, "no target renders it"
	}
}

// Print writes the report for people: what is not safe first, the rest in
// numbers.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	for _, d := range r.Definitions {
		word := "safe to delete"
		if !d.Safe {
			word = "NOT SAFE"
		}
		fmt.Fprintf(&b, "%-14s  %s", word, d.Object)
		if len(d.Why) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(d.Why, "; "))
		}
		b.WriteString("\n")
	}
	count := map[string]int{}
	for _, f := range r.Objects {
		count[f.Verdict]++
		if !slices.Contains([]string{Ownerless, Waiting, Unclear, Added, Gone}, f.Verdict) {
			continue
		}
		fmt.Fprintf(&b, "%-16s  %s", f.Verdict, f.Object)
		if f.Of != "" {
			fmt.Fprintf(&b, ", of %s", f.Of)
		}
		if f.Target != "" {
			fmt.Fprintf(&b, ", in the target %s", f.Target)
		}
		if f.Note != "" {
			fmt.Fprintf(&b, ": %s", f.Note)
		}
		b.WriteString("\n")
	}
	for _, o := range r.Open {
		fmt.Fprintf(&b, "open: %s\n", o)
	}
	var sum []string
	for _, v := range []string{Adopted, Waiting, Ownerless, Unclear, Gone, Added, Tool} {
		if count[v] > 0 {
			sum = append(sum, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	if len(sum) > 0 {
		fmt.Fprintf(&b, "objects: %s\n", strings.Join(sum, ", "))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
