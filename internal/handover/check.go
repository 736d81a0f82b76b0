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
}

// Verdicts on an object.
const (
	Adopted   = "adopted"          // trueup owns it
	Waiting   = "not adopted yet"  // a target renders it, but trueup has not applied it
	Ownerless = "without an owner" // no target renders it
	Gone      = "gone"             // the old tool lists it, but it is not there
	Tool      = "the tool's own"   // goes with the tool
	New       = "new"              // a target renders it, and the old tool never applied it
	Unknown   = "not known"        // it could not be looked at
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
	There, Ours bool // it exists; trueup is a field manager of it
	Err         error
}

// Compare puts together what the old tool holds, what the new targets render
// and what is there. Without targets (nil) only the field managers tell who
// owns an object.
func Compare(old []Definition, targets map[manifest.Ref]string, own func(manifest.Ref) bool, look func(manifest.Ref) Live) *Report {
	r := &Report{Safe: true, Definitions: old}
	held := map[manifest.Ref]bool{}
	for _, d := range old {
		r.Safe = r.Safe && d.Safe
		for _, ref := range d.Holds {
			if held[ref] {
				continue
			}
			held[ref] = true
			f := Finding{Object: ref.String(), Of: d.Object, Target: targets[ref]}
			if own(ref) {
				f.Verdict = Tool
			} else {
				f.Verdict, f.Note = judge(look(ref), targets, ref)
			}
			r.Safe = r.Safe && slices.Contains([]string{Adopted, Gone, Tool}, f.Verdict)
			r.Objects = append(r.Objects, f)
		}
	}
	for ref, t := range targets {
		if !held[ref] && !own(ref) {
			r.Objects = append(r.Objects, Finding{Object: ref.String(), Target: t, Verdict: New})
		}
	}
	slices.SortFunc(r.Objects, func(a, b Finding) int { return strings.Compare(a.Object, b.Object) })
	return r
}

func judge(l Live, targets map[manifest.Ref]string, ref manifest.Ref) (verdict, note string) {
	_, rendered := targets[ref]
	switch {
	case l.Err != nil:
		return Unknown, l.Err.Error()
	case !l.There:
		return Gone, ""
	case targets != nil && !rendered:
		return Ownerless, "no target renders it"
	case !l.Ours && targets == nil:
		return Ownerless, "trueup is no field manager of it"
	case !l.Ours:
		return Waiting, "apply the target first"
	}
	return Adopted, ""
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
		if !slices.Contains([]string{Ownerless, Waiting, Unknown, New, Gone}, f.Verdict) {
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
	for _, v := range []string{Adopted, Waiting, Ownerless, Unknown, Gone, New, Tool} {
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
