package kubernetes

import (
	"cmp"
	"slices"

	"trueup.dev/trueup/internal/plan"
)

// follow plans the objects anew that go along with a namespace or a definition
// that is being deleted and comes again: as long as they are there, they look
// as they should.
func (s *set) follow(p *plan.Plan) error {
	var going []*object
	for _, o := range s.order {
		if o.trial.leaving != "" {
			going = append(going, o)
		}
	}
	if len(going) == 0 || len(p.Scopes) != 1 {
		return nil
	}
	for _, o := range s.order {
		if o.live == nil || o.trial.leaving != "" || !slices.ContainsFunc(going, func(g *object) bool { return takes(g, o) }) {
			continue
		}
		c, err := s.changeOf(p, o)
		if err != nil {
			return err
		}
		c.Action, c.Before, c.Impact, c.Conflict = plan.Create, nil, []plan.Impact{{Class: o.class(), Create: 1}}, ""
		note(c, "what it lies in is being deleted, so it is made anew along with that")
	}
	slices.SortFunc(p.Changes, func(a, b plan.Change) int { return cmp.Compare(a.Address, b.Address) })
	return nil
}

// takes tells that an object goes when another one does.
func takes(g, o *object) bool {
	return o.ref.Namespace != "" && g.ref == namespaceRef(o.ref.Namespace) || defines(g.live, o.ref)
}

// changeOf gives the plan's change of an object, and makes one if there is none.
func (s *set) changeOf(p *plan.Plan, o *object) (*plan.Change, error) {
	for i := range p.Changes {
		if p.Changes[i].Key == o.key() {
			return &p.Changes[i], nil
		}
	}
	doc, sensitive, err := s.Show(item{Key: o.key(), Value: side{object: o}})
	if err != nil {
		return nil, err
	}
	base, err := s.base(o, o.live)
	if err != nil {
		return nil, err
	}
	p.Scopes[0].Base[o.key().Address] = base
	p.Scopes[0].Unchanged--
	p.Changes = append(p.Changes, plan.Change{Key: o.key(), Kind: kindName(o.ref), Reason: plan.ByDrift, After: doc, Sensitive: sensitive, Source: o.desired.Source})
	return &p.Changes[len(p.Changes)-1], nil
}
