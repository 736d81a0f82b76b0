package ssh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// host is one host in one plan or apply.
type host struct {
	*inventory.Host
	t     transport
	in    driver.Input
	spec  *Spec
	facts *Facts
	// commands are what the operator allows to run on hosts.
	commands map[string]HostCommand
	reboot   *Reboot
	compose  []string
	// artefacts are the prefixes of sources that the operator allows.
	artefacts []string
	// vars is what templates see.
	vars map[string]any
	// answer is what the host said last.
	answer *answer
	// marks is shell text to run before the first write (due.go).
	marks string
	// wants is what it should be, with templates filled in.
	wants []*object
}

// realm is what the host is, whatever it is called: two names for one host
// have one realm.
func (h *host) realm() string {
	key := h.t.identity()
	if key == "" {
		if pub, _, _, _, err := xssh.ParseAuthorizedKey([]byte(h.facts.HostKey)); err == nil {
			key = xssh.FingerprintSHA256(pub)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("host %s %s", h.facts.Machine, key))
}

// want works out what the host should be.
func (h *host) want(doc *document, inv *inventory.Inventory) error {
	objects, vars, diags := doc.forHost(h.Host, inv)
	h.vars = map[string]any{}
	maps.Copy(h.vars, h.spec.Vars)
	maps.Copy(h.vars, vars)
	maps.Copy(h.vars, h.Vars)
	values, err := valuesOf(h.in)
	if err != nil {
		return err
	}
	maps.Copy(h.vars, values)
	groups := make([]any, len(h.Groups))
	for i, g := range h.Groups {
		groups[i] = g
	}
	h.vars["host"] = map[string]any{"name": h.Name, "address": h.Address, "groups": groups}
	if h.facts != nil {
		if h.vars["facts"], err = plainJSON(h.facts); err != nil {
			return err
		}
	}
	h.wants = make([]*object, 0, len(objects))
	for _, o := range objects {
		if r, ok := o.State.(resolver); ok {
			st, err := r.resolve(h)
			var found plan.Diagnostic
			switch {
			case errors.As(err, &found):
				diags = append(diags, found)
				continue
			case err != nil:
				diags = append(diags, plan.Diagnostic{Severity: plan.Error, Source: o.Source, Message: err.Error()})
				continue
			case st != o.State:
				with := *o
				with.State = st
				o = &with
			}
		}
		h.wants = append(h.wants, o)
	}
	return diags.Err()
}

func plainJSON(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(b, &out)
}

// leaver is a kind whose objects are not simply removed when they are no
// longer asked for. It gives what they should become, or nil.
type leaver interface {
	leave(h *host, owned driver.Owned) *object
}

// leaving adds what owned objects should become that nobody asks for now.
func (h *host) leaving(owned map[plan.Address]driver.Owned) {
	asked := map[plan.Address]bool{}
	for _, w := range h.wants {
		asked[w.Address] = true
	}
	for a, o := range owned {
		l, ok := kindOf(o.Kind).(leaver)
		if !ok || asked[a] {
			continue
		}
		if w := l.leave(h, o); w != nil {
			w.Source = o.Source
			h.wants = append(h.wants, w)
		}
	}
}

// observe reads the host and gives what is there of the subjects.
func (h *host) observe(ctx context.Context, subs []subject, counting bool) ([]*object, error) {
	p := newProbe()
	p.host = h.sumsKey()
	p.counting = counting
	byKind := map[string][]subject{}
	for _, k := range kinds() {
		for _, n := range k.info().names {
			byKind[n] = nil
		}
	}
	for _, s := range subs {
		first := kindOf(s.kind).info().names[0]
		byKind[first] = append(byKind[first], s)
	}
	for _, k := range kinds() {
		if list := byKind[k.info().names[0]]; len(list) > 0 {
			k.look(p, list)
		}
	}
	a, err := p.run(ctx, h.t)
	if err != nil {
		return nil, err
	}
	h.answer, h.facts = a, a.facts
	var out []*object
	for _, k := range kinds() {
		list := byKind[k.info().names[0]]
		if len(list) == 0 {
			continue
		}
		found, err := k.observe(a, list)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}
