package handover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Step is one step of the handover.
type Step struct {
	Title string `json:"title"`
	Why   string `json:"why,omitempty"`
	// In is the directory that the commands are given in; empty is any.
	In       string   `json:"in,omitempty"`
	Commands []string `json:"commands,omitempty"`
	// Expect is what to look for before the next step.
	Expect string `json:"expect,omitempty"`
}

// Way says how the steps are written down.
type Way struct {
	Kubectl string // kubectl, with the context to use
	Import  string // the command that made the import, for the check
	Config  string // where server.yaml is
	Out     string // where the files are
	Live    bool   // the objects were read from a cluster
	Whole   bool   // everything of the other tool moves
	// Checkouts are the directories of repositories, by name, where they are
	// known.
	Checkouts map[string]string
}

// Patch is a kubectl command that lays a patch over an object.
func (w Way) Patch(resource, namespace, name string, patch any) string {
	body, err := json.Marshal(patch)
	if err != nil { // what is patched here is always JSON
		body = []byte("{}")
	}
	return fmt.Sprintf("%s -n %s patch %s %s --type merge -p '%s'", w.Kubectl, Quote(namespace), resource, Quote(name), body)
}

// Delete is a kubectl command that deletes an object; what belongs to it by an
// owner reference stays.
func (w Way) Delete(resource, namespace, name string) string {
	return fmt.Sprintf("%s -n %s delete %s %s --cascade=orphan", w.Kubectl, Quote(namespace), resource, Quote(name))
}

// Resource is a kind as kubectl takes it without mixing it up with another
// one: kustomization.kustomize.toolkit.fluxcd.io.
func Resource(k schema.GroupKind) string {
	if k.Group == "" {
		return strings.ToLower(k.Kind)
	}
	return strings.ToLower(k.Kind) + "." + k.Group
}

// Quote quotes a word for a shell, where that is needed.
func Quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Finalizers is the patch that leaves an object those finalizers that are not
// the tool's.
func Finalizers(rest []string) any {
	var list any
	if len(rest) > 0 {
		list = rest
	}
	return map[string]any{"metadata": map[string]any{"finalizers": list}}
}

// Adopt are the steps in the middle, the same whatever tool is left.
func (w Way) Adopt(r *Result, tool string) []Step {
	out := []Step{{Title: "Put trueup's configuration in its place",
		Why: "Fill in what the import says is to be filled in. Commit the files of " + w.Out + "/REPOSITORY to each repository, and keep " + w.Config + " with the operator."}}
	for _, p := range r.Repositories {
		if len(p.Targets) == 0 {
			continue
		}
		in, config := cmp.Or(w.Checkouts[p.Name], "a checkout of "+p.Name), " --config "+Quote(w.Config)+" --repository "+Quote(p.Name)
		out = append(out, Step{Title: "Check the configuration and plan " + p.Name, In: in,
			Commands: []string{"trueup validate" + config, "trueup plan" + config},
			Why:      "The plan reads the cluster and writes nothing.",
			Expect:   "Every object is to be adopted; nothing is created, updated, replaced or deleted. What differs is shown with its fields: mend the files, not the cluster, until the plan adopts alone."},
			Step{Title: "Adopt the objects of " + p.Name, In: in,
				Commands: []string{"trueup apply" + config + " --auto-approve", "trueup plan" + config + " --detailed-exitcode"},
				Why:      "Each object gets trueup as its field manager in the place of " + tool + "'s; what it says stays as it is. A server (trueup serve) does the same.",
				Expect:   "The last plan has no changes."})
	}
	return out
}

// Checked is the step that tells whether it is safe to go on.
func (w Way) Checked(tool string) Step {
	command := w.Import + " --check"
	why := ""
	for _, n := range slices.Sorted(maps.Keys(w.Checkouts)) {
		command += " --checkout " + Quote(n+"="+w.Checkouts[n])
	}
	command += " --config " + Quote(w.Config)
	if len(w.Checkouts) == 0 {
		why = " With --checkout NAME=DIRECTORY for each repository it also looks at what the targets render."
	}
	return Step{Title: "Ask whether the old definitions can go",
		Why:      "It reads the cluster and writes nothing: whether each definition of " + tool + " can be deleted without touching production, and whether every object that it applied has an owner in trueup." + why,
		Commands: []string{command},
		Expect:   "It ends with success. It fails while something is not safe, and says what."}
}

// PrintNotes writes what a person has to know, by kind.
func PrintNotes(out io.Writer, notes []Note) error {
	var b strings.Builder
	last := ""
	for _, n := range notes {
		if n.Kind != last {
			fmt.Fprintf(&b, "%s\n", strings.ToUpper(n.Kind[:1])+n.Kind[1:])
			last = n.Kind
		}
		fmt.Fprintf(&b, "   %s\n", strings.TrimSpace(n.Object+" "+n.Field))
		b.WriteString(indent(n.Why+".", "      ") + indent("-> "+n.Do+".", "      "))
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Print writes steps for people.
func Print(out io.Writer, steps []Step) error {
	for i, s := range steps {
		if _, err := fmt.Fprintf(out, "%d. %s\n", i+1, s.Title); err != nil {
			return err
		}
		var b strings.Builder
		if s.Why != "" {
			b.WriteString(indent(s.Why, "   "))
		}
		if s.In != "" && len(s.Commands) > 0 {
			b.WriteString("   In " + s.In + ":\n")
		}
		for _, c := range s.Commands {
			b.WriteString("     " + c + "\n")
		}
		if s.Expect != "" {
			b.WriteString(indent(s.Expect, "   "))
		}
		if _, err := io.WriteString(out, b.String()+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// indent breaks a text into lines of a readable length.
func indent(text, by string) string {
	var b strings.Builder
	line := by
	for _, w := range strings.Fields(text) {
		if len(line)+len(w) > 92 && line != by {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = by
		}
		line += w + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
