package kubernetes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/diff"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// artefact is what Apply needs to know of the plan, by address.
type artefact struct {
	// Desired stands for each object as it was rendered.
	Desired map[plan.Address]string `json:"desired,omitempty"`
	// Conflicts are the fields of others that the plan takes over.
	Conflicts map[plan.Address][]string `json:"conflicts,omitempty"`
	// Along is what goes with the namespaces and definitions that are deleted.
	Along map[plan.Address][]string `json:"along,omitempty"`
}

// artefactOf gathers what an apply of the plan needs to know.
func (s *set) artefactOf(p *plan.Plan) *artefact {
	a := &artefact{Desired: map[plan.Address]string{}, Conflicts: map[plan.Address][]string{}, Along: s.along}
	for i := range p.Changes {
		c := &p.Changes[i]
		o := s.wanted(c)
		if o == nil {
			continue
		}
		a.Desired[c.Address] = o.hash
		for _, f := range o.trial.conflicts {
			a.Conflicts[c.Address] = append(a.Conflicts[c.Address], conflictKey(f))
		}
	}
	return a
}

func (s *set) wanted(c *plan.Change) *object {
	ref, err := manifest.ParseAddress(c.Address)
	if err != nil || c.Action == plan.Delete || c.Action == plan.Forget {
		return nil
	}
	return s.want[ref]
}

// managerOf is the bare name of a manager that the server names with operation
// and version.
func managerOf(text string) string {
	if rest, ok := strings.CutPrefix(text, `"`); ok {
		if n, _, ok := strings.Cut(rest, `"`); ok {
			return n
		}
	}
	return text
}

func conflictKey(o kube.Owner) string { return o.Field + " " + managerOf(o.Manager) }

// judge completes the changes of a plan with what the dry runs said.
func (s *set) judge(p *plan.Plan) error {
	if len(p.Scopes) == 1 && p.Scopes[0].Unknown != "" {
		return nil
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if o := s.wanted(c); o != nil {
			s.judgeOne(c, o)
		} else if ref, err := manifest.ParseAddress(c.Address); err == nil && c.Action == plan.Forget && !s.inScope(ref) {
			note(c, "it lies outside the target's scope: it is given up and stays as it is")
		}
	}
	if s.in.Mode != plan.Destroy && len(p.Scopes) == 1 {
		s.claims(p)
	}
	return nil
}

func note(c *plan.Change, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.Note != "" {
		text = c.Note + "; " + text
	}
	c.Note = text
}

func conflict(c *plan.Change, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.Conflict != "" {
		text = c.Conflict + "; " + text
	}
	c.Conflict = text
}

func (s *set) judgeOne(c *plan.Change, o *object) {
	t := &o.trial
	c.Unknown = o.desired.Unknown
	switch {
	case t.refused != "":
		c.Simulated = true
		note(c, "the API server refuses it: %s", t.refused)
		s.warnings.Warnf(o.desired.Source, "", "", "%s: the API server refuses it: %s", o.ref, t.refused)
	case t.unsure != "":
		c.Simulated = true
		note(c, "known after apply: %s", t.unsure)
	case t.leaving != "":
		// Somebody deleted it already: nothing more is lost by making it anew.
		c.Action, c.Before, c.Impact, c.Conflict = plan.Create, nil, []plan.Impact{{Class: classOf(o.ref), Create: 1}}, ""
		note(c, "it is made anew when it is gone: %s", t.leaving)
	case t.replace != "":
		s.judgeReplace(c, o)
	}
	if c.Action.Writes() {
		s.judgeConflicts(c, t.conflicts)
	}
}

func (s *set) judgeReplace(c *plan.Change, o *object) {
	c.Action = plan.Replace
	c.Impact = []plan.Impact{{Class: classOf(o.ref), Replace: 1}}
	switch allowed := stage.Of(o.send).Recreate; {
	case s.in.Mode == plan.AddOnly:
		conflict(c, "it would be replaced, which a run that only adds may not do")
	case allowed != "" && !stage.Holds(o.ref.GroupKind()):
		note(c, "it can't be changed as it is, so it is deleted and made anew (%s): %s", allowed, o.trial.replace)
	case matches(s.connect.Recreate, kindName(o.ref)):
		note(c, "it can't be changed as it is, so it is deleted and made anew (the environment's recreate): %s", o.trial.replace)
	case stage.Holds(o.ref.GroupKind()):
		conflict(c, "it can't be changed as it is, only deleted and made anew, and what it holds is lost: name the kind in the environment's recreate, or approve: %s", o.trial.replace)
	default:
		conflict(c, "it can't be changed as it is, only deleted and made anew: name the kind in the environment's recreate, annotate the object with %s: allowed, or approve: %s", stage.RecreateAnnotation, o.trial.replace)
	}
}

// judgeConflicts says which fields others own with other values.
func (s *set) judgeConflicts(c *plan.Change, owners []kube.Owner) {
	var drift, theirs []string
	for _, f := range owners {
		m := managerOf(f.Manager)
		text := fmt.Sprintf("%s is owned by %s", f.Field, m)
		if s.ours(m) {
			drift = append(drift, text)
		} else {
			theirs = append(theirs, text)
		}
	}
	slices.Sort(drift)
	slices.Sort(theirs)
	if s.connect.Conflicts == Force {
		drift, theirs = append(drift, theirs...), nil
	}
	if len(drift) > 0 {
		note(c, "taken over: %s", strings.Join(drift, ", "))
	}
	if len(theirs) > 0 {
		conflict(c, "fields of other managers: %s", strings.Join(theirs, ", "))
	}
}

// claims adds adoptions of objects that are equal and owned, but whose fields
// are not ours on the server: without them a field that leaves Git would stay.
func (s *set) claims(p *plan.Plan) {
	sp := &p.Scopes[0]
	for _, o := range s.order {
		if !o.trial.equal || o.trial.owned {
			continue
		}
		key := o.key()
		if slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Key == key }) {
			continue
		}
		base, err := s.base(o, o.live)
		if err != nil {
			continue
		}
		sp.Base[key.Address] = base
		sp.Unchanged--
		p.Changes = append(p.Changes, plan.Change{Key: key, Kind: kindName(o.ref), Action: plan.Adopt, Reason: plan.ByDrift, Source: o.desired.Source,
			Note: "its fields are claimed on the server again"})
	}
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return cmp.Compare(a.Address, b.Address) })
}

// Show gives what matters of an object: the fields that are asked for or ours,
// and those that the change would touch.
func (s *set) Show(it item) (json.RawMessage, []string, error) {
	doc, err := s.shown(it.Value)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", it.Key, err)
	}
	raw, err := json.Marshal(doc)
	return raw, s.hidden(it.Key, it.Value.object, doc), err
}

func (s *set) shown(v side) (map[string]any, error) {
	if v.live && v.desired == nil {
		owned, err := diff.Owned(v.object.live, s.manager())
		if err != nil || owned.Empty() {
			return diff.Clean(v.object.live), err
		}
		return diff.Project(diff.Clean(v.object.live), owned), nil
	}
	t := &v.trial
	if t.after == nil {
		if v.live {
			return diff.Overlap(diff.Clean(v.object.live), v.send.Object).(map[string]any), nil
		}
		return diff.Clean(v.send), nil
	}
	fields, err := diff.Owned(t.after, s.manager())
	if err != nil {
		return nil, err
	}
	if v.object.live == nil {
		return diff.Project(diff.Clean(t.after), fields), nil
	}
	was, err := diff.Owned(v.object.live, s.manager())
	if err != nil {
		return nil, err
	}
	before, after := diff.View(diff.Clean(v.object.live), diff.Clean(t.after), fields.Union(was))
	if v.live {
		return before, nil
	}
	return after, nil
}

// sensitive points to what must not be seen of an object.
func sensitive(o *object) []string {
	var out []string
	if o.desired != nil {
		out = append(out, o.desired.Sensitive...)
	}
	if o.ref.Group == "" && o.ref.Kind == "Secret" {
		out = append(out, secretKeys(o)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func secretKeys(o *object) []string {
	var out []string
	for _, u := range []map[string]any{objectOf(o.live), objectOf(o.send), objectOf(o.trial.after)} {
		for _, part := range []string{"data", "stringData"} {
			m, ok := u[part].(map[string]any)
			if !ok {
				continue
			}
			for k := range m {
				out = append(out, "/"+part+"/"+escape(k))
			}
		}
	}
	return out
}

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }
