package exec

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// class is what guards count where the tool does not say.
const class = "object"

// assemble makes a plan of a report.
func (w *work) assemble(r *report) (*plan.Plan, error) {
	sp := plan.ScopePlan{Realm: w.s.realm(), Base: map[plan.Address]string{}, Owned: w.ownedCounts(), Unmanaged: r.Unmanaged}
	p := &plan.Plan{Target: w.in.Target, Driver: name, Version: version, Mode: w.in.Mode, Changes: []plan.Change{}, Outputs: r.Outputs}
	for _, text := range r.Warnings {
		p.Warnings = append(p.Warnings, plan.Diagnostic{Severity: plan.Warning, Message: w.scrub.text(clean(text))})
	}
	touched := map[plan.Address]bool{}
	for i := range r.Changes {
		c, base, err := w.change(&r.Changes[i])
		if err != nil {
			return nil, err
		}
		touched[c.Address] = true
		if w.in.Mode == plan.AddOnly && (c.Action == plan.Delete || c.Action == plan.Replace || c.Action == plan.Disable) {
			if !w.s.connect.Selective {
				return nil, driver.Permanent(fmt.Errorf("the tool wants to %s %s, and can't apply a part of its plan: "+
					"an add-only run needs `selective: true` and an apply command that does only the changes it is given", c.Action, c.Address))
			}
			continue
		}
		sp.Base[c.Address] = base
		p.Changes = append(p.Changes, c)
	}
	w.settle(r, touched, p, &sp)
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return a.Key.Compare(b.Key) })
	p.Scopes = []plan.ScopePlan{sp}
	return p, nil
}

// settle takes in what is as it should be, and gives up what is gone.
func (w *work) settle(r *report, touched map[plan.Address]bool, p *plan.Plan, sp *plan.ScopePlan) {
	add := func(o object, a plan.Action, reason plan.Reason) {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Address: o.Address}, Kind: o.Kind, Action: a, Reason: reason})
		sp.Base[o.Address] = string(a)
	}
	there := map[plan.Address]bool{}
	if r.Objects != nil {
		for _, o := range *r.Objects {
			there[o.Address] = true
			owned, ours := w.in.Inventory[plan.Key{Address: o.Address}]
			if !ours || owned.Pending {
				add(o, plan.Adopt, plan.BySpec)
			} else {
				sp.Unchanged++
			}
		}
		sp.Empty = len(there) == 0 && len(r.Changes) == 0 && r.Unmanaged == 0 && len(w.in.Inventory) > 0
	}
	for _, k := range w.ownedKeys() {
		o := w.in.Inventory[k]
		switch {
		case touched[k.Address] || there[k.Address]:
		case r.Objects != nil:
			add(object{k.Address, o.Kind}, plan.Forget, plan.BySpec)
		case o.Pending: // the tool has nothing more to do about it
			add(object{k.Address, o.Kind}, plan.Adopt, plan.BySpec)
		default:
			sp.Unchanged++
		}
	}
}

func (w *work) ownedCounts() map[string]int {
	out := map[string]int{}
	for _, o := range w.in.Inventory {
		out[cmp.Or(o.Class, class)] += max(o.Weight, 1)
	}
	return out
}

// change makes a plan's change of a reported one, and the hash that apply
// compares.
func (w *work) change(x *reported) (plan.Change, string, error) {
	c := plan.Change{Key: plan.Key{Address: x.Address}, Kind: x.Kind, Action: x.Action, Reason: x.Reason, Sensitive: x.Sensitive,
		Unknown: x.Unknown, Source: x.Source, Impact: x.Impact, Simulated: x.Simulated, Note: w.scrub.text(x.Note), Conflict: w.scrub.text(x.Conflict)}
	var err error
	if c.Before, err = w.document(x.Before); err != nil {
		return c, "", fmt.Errorf("%s: before: %w", x.Address, err)
	}
	if c.After, err = w.document(x.After); err != nil {
		return c, "", fmt.Errorf("%s: after: %w", x.Address, err)
	}
	if w.s.scope(w.in) != nil && !w.s.scope(w.in).Contains(c.Key, c.Kind) {
		return c, "", driver.Permanent(fmt.Errorf("the tool plans to %s %s, which lies outside the target's scope", c.Action, c.Address))
	}
	owned, ours := w.in.Inventory[c.Key]
	if c.Reason == "" {
		switch {
		case c.Action == plan.Delete:
			c.Reason = plan.ByPrune
		case ours && owned.Hash != "" && owned.Hash == w.s.hash("object", c.After):
			c.Reason = plan.ByDrift // the same was asked for before
		default:
			c.Reason = plan.BySpec
		}
	}
	if len(c.Impact) == 0 {
		c.Impact = []plan.Impact{one(c.Action)}
	}
	return c, w.s.hash("change", []byte(c.Action), x.Before, x.After, []byte(x.Conflict)), nil
}

func one(a plan.Action) plan.Impact {
	im := plan.Impact{Class: class}
	switch a {
	case plan.Create:
		im.Create = 1
	case plan.Delete:
		im.Delete = 1
	case plan.Replace:
		im.Replace = 1
	case plan.Disable:
		im.Disable = 1
	default:
		im.Update = 1
	}
	return im
}

// document gives a document without the secrets that we know.
func (w *work) document(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	doc, err := plan.Canonical(raw)
	if err != nil || len(w.scrub.words) == 0 {
		return doc, err
	}
	if clean := w.scrub.text(string(doc)); clean == string(doc) {
		return doc, nil
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return nil, err
	}
	return json.Marshal(w.scrub.value(v))
}

// hash stands for a content that may hold secrets.
func (s *session) hash(what string, parts ...[]byte) string {
	m := hmac.New(sha256.New, append([]byte("exec "), s.env.HashKey...))
	fmt.Fprintf(m, "%s\n", what)
	for _, p := range parts {
		if doc, err := plan.Canonical(p); err == nil {
			p = doc
		}
		if string(p) == "null" {
			p = nil
		}
		fmt.Fprintf(m, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(m.Sum(nil))
}
