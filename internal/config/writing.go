package config

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/plan"
)

// Promotion says which versions a target takes over from another target of
// the repository: `trueup promote` proposes the change, or trueup does so by
// itself after a healthy period.
type Promotion struct {
	From   string          `yaml:"from" json:"from" jsonschema:"required"`                             // the target whose versions are taken
	Fields []PromotedField `yaml:"fields" json:"fields" jsonschema:"required,minItems=1,maxItems=100"` // what is copied
	// After makes it happen by itself: `from` must have been healthy with the
	// same versions for so long. Without it a person promotes.
	After time.Duration `yaml:"after" json:"after,omitempty"`
}

// PromotedField is one value that a promotion copies.
type PromotedField struct {
	Name     string `yaml:"name" json:"name,omitempty"`                                // in lists; default: the place itself
	File     string `yaml:"file" json:"file,omitempty"`                                // below the target's path; default: the path itself
	Path     string `yaml:"path" json:"path,omitempty"`                                // in YAML or JSON: $.image.tag, $.images[name=shop].newTag
	Pointer  string `yaml:"pointer" json:"pointer,omitempty"`                          // in YAML or JSON, in place of path: /image/tag
	Regexp   string `yaml:"regexp" json:"regexp,omitempty"`                            // in any text, in place of path: an expression that matches once, its one group is the value
	Document int    `yaml:"document" json:"document,omitempty" jsonschema:"minimum=1"` // of a file with several YAML documents; default 1
	Source   *Place `yaml:"source" json:"source,omitempty"`                            // where it stands in `from`, where that is another place
}

// Place is a place of a value in a file below a target's path.
type Place struct {
	File     string `yaml:"file" json:"file,omitempty"`       // default: as in the target
	Path     string `yaml:"path" json:"path,omitempty"`       // in YAML or JSON
	Pointer  string `yaml:"pointer" json:"pointer,omitempty"` // in YAML or JSON, in place of path
	Regexp   string `yaml:"regexp" json:"regexp,omitempty"`   // in any text, in place of path
	Document int    `yaml:"document" json:"document,omitempty" jsonschema:"minimum=1"`
}

// WriteBack declares a field of an object that the environment may change by
// itself. A drift in such fields alone is not corrected: the live value is
// written into the repository.
type WriteBack struct {
	Address plan.Address `yaml:"address" json:"address" jsonschema:"required"` // of the object, as plans show it
	Scope   plan.Scope   `yaml:"scope" json:"scope,omitempty"`                 // of the object, where the driver has scopes
	Field   string       `yaml:"field" json:"field" jsonschema:"required"`     // JSON pointer into the object: /spec/replicas

	File     string `yaml:"file" json:"file,omitempty"`       // where the value stands in Git, below the target's path; default: the path itself
	Path     string `yaml:"path" json:"path,omitempty"`       // in YAML or JSON: $.replicas
	Pointer  string `yaml:"pointer" json:"pointer,omitempty"` // in YAML or JSON, in place of path: /replicas
	Regexp   string `yaml:"regexp" json:"regexp,omitempty"`   // in any text, in place of path: an expression that matches once, its one group is the value
	Document int    `yaml:"document" json:"document,omitempty" jsonschema:"minimum=1"`
	// Via is pullRequest (default), or commit where the environment's policy
	// allows it.
	Via string `yaml:"via" json:"via,omitempty" jsonschema:"default=pullRequest,enum=pullRequest,enum=commit"`
}

// Place gives the place in the file.
func (w WriteBack) Place() edit.Field {
	return edit.Field{File: w.File, Path: w.Path, Pointer: w.Pointer, Regexp: w.Regexp, Document: w.Document}
}

// Target gives the place in the target's file.
func (f PromotedField) Target() edit.Field {
	return edit.Field{File: f.File, Path: f.Path, Pointer: f.Pointer, Regexp: f.Regexp, Document: f.Document}
}

// Origin gives the place in the file of the target that it comes from.
func (f PromotedField) Origin() edit.Field {
	s := f.Source
	if s == nil {
		return f.Target()
	}
	out := edit.Field{File: s.File, Path: s.Path, Pointer: s.Pointer, Regexp: s.Regexp, Document: s.Document}
	if out.File == "" {
		out.File = f.File
	}
	if s.Path == "" && s.Pointer == "" && s.Regexp == "" {
		out.Path, out.Pointer, out.Regexp, out.Document = f.Path, f.Pointer, f.Regexp, f.Document
	}
	return out
}

// Label names the field for people.
func (f PromotedField) Label() string {
	if f.Name != "" {
		return f.Name
	}
	return strings.TrimSpace(f.Target().String())
}

// writings checks what may be written into the repository for a target.
func (e *entry) writings(r *Resolved, env *Environment) {
	if p := e.t.Promote; p != nil {
		e.promotion(p)
		own := *p
		r.Promote = &own
	}
	e.images(r)
	policy := "pullRequest"
	if p := e.Server.Policies[env.Policy]; p != nil {
		policy = p.WriteBack
	}
	for i := range e.t.WriteBack {
		w := &e.t.WriteBack[i]
		at := fmt.Sprintf("writeBack[%d]", i)
		e.place(at, w.Place())
		if !strings.HasPrefix(w.Field, "/") {
			e.fail(at+".field", "write it like /spec/replicas", "%q is no JSON pointer", w.Field)
		}
		switch {
		case e.Alone:
		case policy == "off":
			e.fail(at, "the operator allows it with writeBack: pullRequest under policies."+env.Policy, "the environment %q allows no writing back", env.Name)
		case w.Via == "commit" && policy != "commit":
			e.fail(at+".via", "the operator allows it with writeBack: commit in the environment's policy; or leave via out, for a pull request", "the environment %q allows no commits without a pull request", env.Name)
		}
		first := slices.IndexFunc(e.t.WriteBack[:i], func(o WriteBack) bool { return o.Address == w.Address && o.Scope == w.Scope && o.Field == w.Field })
		if first >= 0 {
			e.fail(at, "remove one of the two", "the field %s of %s is declared twice", w.Field, w.Address)
		}
	}
}

func (e *entry) promotion(p *Promotion) {
	if p.After < 0 {
		e.fail("promote.after", "write it like 24h", "the period is negative")
	}
	if strings.Contains(p.From, "/") {
		if repo, _, _ := strings.Cut(p.From, "/"); repo != e.Repository {
			e.fail("promote.from", "keep both in one repository", "%q is a target of another repository; versions are promoted within one", p.From)
		}
	}
	if len(p.Fields) == 0 {
		e.fail("promote.fields", "list what is copied: [{file: values.yaml, path: $.image.tag}]", "there are no fields")
	}
	for i, f := range p.Fields {
		at := fmt.Sprintf("promote.fields[%d]", i)
		e.place(at, f.Target())
		if f.Source != nil {
			e.place(at+".source", f.Origin())
		}
	}
}

// place checks the place of a value.
func (e *entry) place(at string, f edit.Field) {
	if err := f.Check(); err != nil {
		e.fail(at, "", "%s", err)
	}
	if f.File == "" {
		return
	}
	msg := ""
	switch full := path.Join(e.path, f.File); {
	case strings.HasPrefix(f.File, "/"):
		msg = "is absolute"
	case strings.ContainsAny(f.File, "\\\x00"):
		msg = "holds a character that paths can't have"
	case !fs.ValidPath(full):
		msg = "leaves the repository"
	case slices.Contains(strings.Split(strings.ToLower(full), "/"), ".git"):
		msg = "is inside .git"
	}
	if msg != "" {
		e.fail(at+".file", "write it relative to the target's path", "%q %s", f.File, msg)
	}
}

// promotion checks that what is promoted from is a target, and one alone.
func (c *checker) promotion(r *Resolved) {
	if r.Promote == nil {
		return
	}
	from := r.Promote.From
	switch ids := c.names[from]; {
	case from == r.ID:
		c.diags.Errorf(r.Source, "promote.from", "name the target that goes before it", "%q promotes from itself", short(r.ID))
	case len(ids) > 1:
		c.diags.Errorf(r.Source, "promote.from", "name one: "+short(ids[0]), "%q has %d environments", short(from), len(ids))
	default:
		c.exists(r, "promote.from", from)
	}
}
