package tofu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// class is how guards count resources.
const class = "resource"

// translate makes trueup's plan of the program's.
func (w *work) translate(x planned) (*plan.Plan, error) {
	p := &plan.Plan{Scopes: []plan.ScopePlan{w.scope()}, Outputs: map[string]plan.Output{}}
	sp := &p.Scopes[0]
	for _, o := range w.in.Inventory {
		if o.Class == class {
			sp.Owned[class]++
		}
	}
	t := &translation{work: w, planned: x, plan: p, scope: sp, seen: map[plan.Address]bool{}, drift: map[string]*tfjson.ResourceChange{}}
	for _, d := range x.doc.ResourceDrift {
		t.drift[d.Address] = d
	}
	if w.spec.RefreshOnly && w.in.Mode != plan.Destroy {
		t.driftAsChanges()
	} else if err := t.resources(); err != nil {
		return nil, err
	}
	if err := t.outputs(); err != nil {
		return nil, err
	}
	t.given()
	t.lineage()
	t.unsure()
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return a.Compare(b.Key) })
	return p, nil
}

// translation is one plan on its way.
type translation struct {
	*work
	planned
	plan  *plan.Plan
	scope *plan.ScopePlan
	seen  map[plan.Address]bool // in configuration or state
	drift map[string]*tfjson.ResourceChange
	state int // managed resources in the state
}

func (t *translation) resources() error {
	for _, rc := range t.doc.ResourceChanges {
		if rc.Mode != tfjson.ManagedResourceMode || rc.Change == nil {
			continue
		}
		c, ok, err := t.change(rc)
		if err != nil {
			return fmt.Errorf("%s: %w", rc.Address, err)
		}
		t.seen[plan.Address(rc.Address)] = true
		if rc.PreviousAddress != "" {
			t.seen[plan.Address(rc.PreviousAddress)] = true
		}
		if rc.Change.Before != nil {
			t.state++
		}
		if !ok {
			t.scope.Unchanged++
			continue
		}
		t.add(c)
	}
	t.driftBeside()
	return nil
}

func (t *translation) add(c plan.Change) {
	t.scope.Base[c.Address] = ""
	if len(c.Before) > 0 {
		t.scope.Base[c.Address] = t.s.keyed(c.Before)
	}
	if c.From != "" {
		t.scope.Base[c.From] = t.s.keyed(c.Before)
	}
	t.plan.Changes = append(t.plan.Changes, c)
}

// change translates one resource's change; false is none.
func (t *translation) change(rc *tfjson.ResourceChange) (plan.Change, bool, error) {
	address := rc.Address
	if rc.DeposedKey != "" {
		address += " (deposed " + rc.DeposedKey + ")"
	}
	c := plan.Change{Key: plan.Key{Address: plan.Address(address)}, Kind: rc.Type, Reason: plan.BySpec, Source: t.root.sourceOf(rc.Address)}
	t.action(&c, rc)
	if c.Action == plan.None {
		return c, false, nil
	}
	if c.Action == plan.Adopt && rc.Change.Importing == nil {
		// It is in the state: nothing is written to make it ours.
		c.Reason = plan.BySpec
	}
	if c.Source == (plan.Source{}) {
		c.Source = t.in.Inventory[c.Key].Source
	}
	var err error
	if c.Before, err = document(rc.Change.Before); err != nil {
		return c, false, err
	}
	if c.After, err = document(rc.Change.After); err != nil {
		return c, false, err
	}
	c.Sensitive = pointers(nil, "", rc.Change.BeforeSensitive)
	c.Sensitive = pointers(c.Sensitive, "", rc.Change.AfterSensitive)
	c.Sensitive = t.secretPointers(c.Sensitive, "", rc.Change.Before)
	c.Sensitive = t.secretPointers(c.Sensitive, "", rc.Change.After)
	slices.Sort(c.Sensitive)
	c.Sensitive = slices.Compact(c.Sensitive)
	c.Unknown = pointers(nil, "", rc.Change.AfterUnknown)
	if len(rc.Change.ReplacePaths) > 0 && c.Action == plan.Replace {
		c.Note = strings.TrimPrefix(c.Note+"; replaced because of "+replacePaths(rc.Change.ReplacePaths), "; ")
	}
	if c.Action != plan.Adopt && c.Action != plan.Forget && t.isDrift(rc) {
		c.Reason = plan.ByDrift
	}
	return c, true, nil
}

// action tells what the change does, and how guards count it.
func (t *translation) action(c *plan.Change, rc *tfjson.ResourceChange) {
	a := rc.Change.Actions
	one := plan.Impact{Class: class}
	c.Action = plan.None
	switch {
	case a.NoOp() && rc.PreviousAddress != "":
		c.Action, c.From = plan.Rename, plan.Address(rc.PreviousAddress)
	case a.NoOp() && rc.Change.Importing != nil:
		c.Action, c.Note = plan.Adopt, "imported: "+rc.Change.Importing.ID
	case a.NoOp():
		if o, owned := t.in.Inventory[c.Key]; !owned || o.Pending {
			c.Action = plan.Adopt
		}
	case a.Create():
		c.Action, one.Create = plan.Create, 1
	case a.Update():
		c.Action, one.Update = plan.Update, 1
	case a.Replace():
		c.Action, one.Replace = plan.Replace, 1
	case a.Delete():
		c.Action, one.Delete, c.Reason = plan.Delete, 1, plan.ByPrune
	case a.Forget():
		c.Action, c.Note = plan.Forget, "leaves the state, stays as it is"
	}
	if c.Action != plan.Rename && rc.PreviousAddress != "" {
		c.Note = "was " + rc.PreviousAddress
		if c.Action == plan.Update {
			c.From = plan.Address(rc.PreviousAddress)
		}
	}
	if c.Action == plan.Update && rc.Change.Importing != nil {
		c.Note = "imported: " + rc.Change.Importing.ID
	}
	if one != (plan.Impact{Class: class}) {
		c.Impact = []plan.Impact{one}
	}
}

func document(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return plan.Canonical(b)
}

// pointers lists where marks are true.
func pointers(out []string, at string, marks any) []string {
	switch x := marks.(type) {
	case bool:
		if x {
			out = append(out, at)
		}
	case map[string]any:
		for _, k := range sortedKeys(x) {
			out = pointers(out, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), x[k])
		}
	case []any:
		for i, e := range x {
			out = pointers(out, at+"/"+itoa(i), e)
		}
	}
	return out
}

// secretPointers lists values that hold a secret which the module did not mark.
func (t *translation) secretPointers(out []string, at string, v any) []string {
	switch x := v.(type) {
	case string:
		if t.scrub.holds(x) {
			out = append(out, at)
		}
	case map[string]any:
		for _, k := range sortedKeys(x) {
			out = t.secretPointers(out, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), x[k])
		}
	case []any:
		for i, e := range x {
			out = t.secretPointers(out, at+"/"+itoa(i), e)
		}
	}
	return out
}

func replacePaths(paths []any) string {
	var out []string
	for _, p := range paths {
		var parts []string
		if steps, ok := p.([]any); ok {
			for _, s := range steps {
				parts = append(parts, fmt.Sprint(s))
			}
		}
		out = append(out, strings.Join(parts, "."))
	}
	return strings.Join(out, ", ")
}

// given gives up what the target owned and what is neither in the state nor
// asked for any more: somebody took it out of the state.
func (t *translation) given() {
	if t.in.Mode == plan.AddOnly {
		return // the plan may be limited to some resources
	}
	for k, o := range t.in.Inventory {
		if o.Kind == kindOutput && t.doc.OutputChanges[strings.TrimPrefix(string(k.Address), "output.")] != nil {
			continue
		}
		if t.seen[k.Address] || k.Scope != "" || t.spec.RefreshOnly && t.in.Mode != plan.Destroy {
			continue
		}
		t.add(plan.Change{Key: k, Kind: o.Kind, Action: plan.Forget, Reason: plan.ByPrune, Source: o.Source})
	}
}

// unsure holds what may be there already without the state knowing it: made by
// an apply that was killed before it wrote its state.
func (t *translation) unsure() {
	var open map[plan.Address]bool
	for i := range t.plan.Changes {
		c := &t.plan.Changes[i]
		if c.Action != plan.Create || c.Kind == kindOutput || c.Conflict != "" || t.drift[string(c.Address)] != nil {
			continue
		}
		if open == nil {
			open = t.uncertain()
		}
		o, owned := t.in.Inventory[c.Key]
		switch {
		case open[c.Address]:
			c.Conflict = "an apply was cut off while it made this; whether it is there, the state does not say: look, and import it or approve making it"
		case owned && !o.Pending:
			c.Conflict = "it was made before and the state does not know it any more: import it, or approve making it again"
		}
	}
}

// lineage holds everything when the state is not the one that this target
// wrote, or has gone.
func (t *translation) lineage() {
	var why string
	written := 0
	for _, o := range t.in.Inventory {
		if o.Kind == kindOutput || o.Pending {
			continue
		}
		written++
		if l, ok := strings.CutPrefix(o.Hash, "lineage:"); ok && t.meta.Lineage != "" && l != t.meta.Lineage {
			why = fmt.Sprintf("the state has the lineage %s, the target wrote to one with %s: was the backend repointed?", t.meta.Lineage, l)
		}
	}
	if why == "" && written > 0 && t.state == 0 && t.in.Mode != plan.Destroy && !t.spec.RefreshOnly && t.meta.Lineage == "" {
		why = fmt.Sprintf("there is no state, though the target owns %d resources: was it lost, or the backend repointed?", written)
	}
	if why == "" {
		return
	}
	for i := range t.plan.Changes {
		t.plan.Changes[i].Conflict = why
	}
}

// repositoryPath turns a path relative to the root module into one of the
// repository.
func (w *work) repositoryPath(name string) string {
	if filepath.IsAbs(name) {
		if rel, err := filepath.Rel(w.path("tree"), name); err == nil && !strings.HasPrefix(rel, "..") {
			return filepath.ToSlash(rel)
		}
		return filepath.Base(name)
	}
	return path.Join(w.in.Path, filepath.ToSlash(name))
}

// outputs takes the root's outputs over: as values for others, and as changes
// where they alone would make the state different.
func (t *translation) outputs() error {
	for _, name := range sortedKeys(t.doc.OutputChanges) {
		oc := t.doc.OutputChanges[name]
		sensitive := oc.AfterSensitive == true || oc.BeforeSensitive == true || len(pointers(nil, "", oc.AfterSensitive)) > 0
		unknown := len(pointers(nil, "", oc.AfterUnknown)) > 0
		if !oc.Actions.Delete() {
			o := plan.Output{Sensitive: sensitive || len(t.secretPointers(nil, "", oc.After)) > 0, Unknown: unknown}
			if !unknown {
				value, err := document(oc.After)
				if err != nil {
					return err
				}
				o.Value = value
				if o.Value == nil {
					o.Value = json.RawMessage("null")
				}
			}
			t.plan.Outputs[name] = o
			sensitive = o.Sensitive
		}
		if err := t.outputChange(name, oc, sensitive); err != nil {
			return err
		}
	}
	return nil
}

func (t *translation) outputChange(name string, oc *tfjson.Change, sensitive bool) error {
	c := plan.Change{Key: plan.Key{Address: plan.Address("output." + name)}, Kind: kindOutput, Reason: plan.BySpec, Source: t.root.outputs[name]}
	t.seen[c.Address] = true
	switch {
	case oc.Actions.NoOp():
		return nil
	case oc.Actions.Create():
		c.Action = plan.Create
	case oc.Actions.Delete():
		c.Action, c.Reason = plan.Delete, plan.ByPrune
	default:
		c.Action = plan.Update
	}
	var err error
	if c.Before, err = wrapped(oc.Before); err != nil {
		return err
	}
	if c.After, err = wrapped(oc.After); err != nil {
		return err
	}
	if sensitive {
		c.Sensitive = []string{"/value"}
	}
	if len(pointers(nil, "", oc.AfterUnknown)) > 0 {
		c.Unknown, c.After = []string{"/value"}, json.RawMessage("{}")
	}
	if bytes.Equal(c.Before, c.After) && len(c.Unknown) == 0 {
		return nil
	}
	if c.Source == (plan.Source{}) {
		c.Source = t.in.Inventory[c.Key].Source
	}
	t.add(c)
	return nil
}

func wrapped(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	return document(map[string]any{"value": v})
}

var _ driver.Session = (*session)(nil)
