package ssh

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// kind is one type of resource. See "How to add a kind" in the package's
// documentation.
type kind interface {
	info() kindInfo
	// parse reads one entry of the kind's section in host.yaml.
	parse(p *parser, e entry) []*object
	// look adds to the script that reads a host.
	look(p *probe, subjects []subject)
	// observe gives the subjects that are there. An error makes the whole host
	// unknown; what can't be told about one object belongs into its state.
	observe(a *answer, subjects []subject) ([]*object, error)
	// write adds to the script that changes a host.
	write(w *writer, steps []step)
}

// kindInfo describes a kind.
type kindInfo struct {
	// names are the kinds of its objects; the first one names the kind.
	names []string
	// sections are its keys in host.yaml.
	sections []string
	// class is what guards count its objects as.
	class string
	// rank orders the writing: lower first, and last when they are removed.
	rank int
	// blank gives an empty state of a kind, to read a remembered document into.
	blank func(name string) state
}

// Ranks of the kinds, with room between them.
const (
	rankGroup   = 100
	rankUser    = 200
	rankPackage = 300
	rankPath    = 400
	rankBlock   = 450
	rankKeys    = 500
	rankSetting = 550
	rankService = 600
	rankCommand = 700
	rankHandler = 900
	rankReboot  = 1000
)

// kinds lists every kind. New ones are added here.
func kinds() []kind {
	return []kind{groupKind{}, userKind{}, packageKind{}, pathKind{}, blockKind{}, keysKind{}, sysctlKind{}, cronKind{}, unitKind{},
		artefactKind{}, composeKind{}, commandKind{}, handlerKind{}, rebootKind{}}
}

// byName finds kinds by the names of their objects.
var byName = sync.OnceValue(func() map[string]kind {
	m := map[string]kind{}
	for _, k := range kinds() {
		for _, n := range k.info().names {
			m[n] = k
		}
	}
	return m
})

func kindOf(name string) kind { return byName()[name] }

// kindOfAddress gives the kind that an address belongs to.
func kindOfAddress(a plan.Address) string {
	if strings.HasPrefix(string(a), "/") {
		return kindFile
	}
	kind, _, _ := strings.Cut(string(a), ":")
	return kind
}

func kindNames() []string { return sortedKeys(byName()) }

// state is what one object is, desired or observed. It is JSON, so that it can
// be remembered and can travel to an agent.
type state interface {
	// ident is equal for two states exactly when nothing has to be done to
	// turn one into the other. Secrets are part of it: it is hashed with a key.
	ident() string
	// show gives the document that plans show, and the JSON pointers into it
	// that are sensitive.
	show() (doc any, sensitive []string)
}

// keeper is a state that is remembered by a shorter document than is shown.
type keeper interface {
	keep() (doc any, sensitive []string)
}

// resolver is a desired state that depends on the host: a template. It gives
// the state for one host.
type resolver interface {
	resolve(h *host) (state, error)
}

// noter is a kind that adds to its changes in a plan: that they are simulated,
// say.
type noter interface {
	note(c *plan.Change, want, have *object)
}

// object is one resource on a host, desired or observed.
type object struct {
	Kind    string
	Address plan.Address
	Source  plan.Source
	State   state
	// Notify names what is to act when the object changes.
	Notify []string
	// TakeOver allows to change an object that is there and belongs to nobody.
	TakeOver bool
}

// subject is an address that concerns a target on a host: because it is asked
// for, because it is owned, or both.
type subject struct {
	address plan.Address
	kind    string
	want    *object       // nil when it is no longer asked for
	owned   *driver.Owned // nil when the target does not own it
	was     state         // as it was last applied, nil when that is not known
}

// hides tells whether the content that was found is masked. What is not ours
// is, unless it is what the repository asks for: whoever may write to the
// repository must not read hosts through its plans. of gives a state's content
// and whether that is secret.
func (s subject) hides(found []byte, of func(state) (content string, secret bool)) bool {
	if s.want != nil {
		content, secret := of(s.want.State)
		if secret || content == string(found) {
			return secret
		}
	}
	if s.was != nil {
		if _, secret := of(s.was); secret {
			return true
		}
	}
	return s.owned == nil
}

// open is the state that says what the repository decides about the object:
// the desired one, or the last desired one. It may be nil.
func (s subject) open() state {
	if s.want != nil {
		return s.want.State
	}
	return s.was
}

type (
	item  = setplan.Item[*object]
	scope = setplan.Scope[*object]
	step  = setplan.Step[*object]
)

// subjects brings together what is wanted and what is owned on a host. Keys,
// if they are given, limit it.
func subjects(wants []*object, owned map[plan.Address]driver.Owned, keys map[plan.Address]bool) []subject {
	out := make([]subject, 0, max(len(wants), len(owned)))
	seen := make(map[plan.Address]bool, len(wants))
	for _, w := range wants {
		seen[w.Address] = true
		if keys != nil && !keys[w.Address] {
			continue
		}
		s := subject{address: w.Address, kind: w.Kind, want: w}
		if o, ok := owned[w.Address]; ok {
			s.owned, s.was = &o, recall(o)
		}
		out = append(out, s)
	}
	for a, o := range owned {
		if seen[a] || keys != nil && !keys[a] {
			continue
		}
		if o.Kind == "" {
			o.Kind = kindOfAddress(a) // it was marked as pending and nothing more
		}
		if kindOf(o.Kind) != nil {
			out = append(out, subject{address: a, kind: o.Kind, owned: &o, was: recall(o)})
		}
	}
	slices.SortFunc(out, func(a, b subject) int { return cmpAddress(a.address, b.address) })
	return out
}

func cmpAddress(a, b plan.Address) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// recall reads what was last applied.
func recall(o driver.Owned) state {
	k := kindOf(o.Kind)
	if k == nil || len(o.LastApplied) == 0 {
		return nil
	}
	s := k.info().blank(o.Kind)
	if s == nil || json.Unmarshal(o.LastApplied, s) != nil {
		return nil
	}
	return s
}

// identOf gives the ident of a state that is plain JSON.
func identOf(s any) string {
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
