package rest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// session is a connection to an API.
type session struct {
	connect *Connect
	client  *client
	purpose driver.Purpose
	key     []byte
}

// Close gives idle connections back.
func (s *session) Close() error {
	s.client.http.CloseIdleConnections()
	return nil
}

// Plan compares the files with the API.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	if set.unknown != "" {
		return &plan.Plan{Target: in.Target, Driver: name, Version: version, Mode: in.Mode, Changes: []plan.Change{}, Scopes: []plan.ScopePlan{
			{Realm: s.realm(), Unknown: fmt.Sprintf("the value %s is not known yet: the target that gives it has not been applied", set.unknown)}}}, nil
	}
	p, err := setplan.Plan(ctx, in, set)
	if err != nil {
		return nil, err
	}
	p.Driver, p.Version = name, version
	return p, ctx.Err()
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose != driver.Write {
		return driver.Permanent(errors.New("http: the session was opened to read"))
	}
	set, err := s.set(ctx, in)
	if err != nil {
		return err
	}
	if set.unknown != "" {
		return fmt.Errorf("the value %s is not known: %w", set.unknown, driver.ErrStale)
	}
	return setplan.Apply(ctx, in, p, set, report)
}

func (s *session) realm() string {
	return "http:" + cmp.Or(s.connect.Realm, s.client.base)
}

type (
	item  = setplan.Item[*object]
	scope = setplan.Scope[*object]
)

// object is a desired or an observed object.
type object struct {
	typ       string
	doc       map[string]any // whole, as desired or as the API has it
	shown     any            // what is compared and shown
	id, etag  string
	sensitive []string
}

// set is one plan or apply.
type set struct {
	*session
	in      driver.Input
	want    map[plan.Address]*item
	order   []*item
	unknown string
}

func (s *session) set(ctx context.Context, in driver.Input) (*set, error) {
	st := &set{session: s, in: in, want: map[plan.Address]*item{}}
	if in.Mode == plan.Destroy {
		return st, nil
	}
	prep := in.Prepared
	if prep == nil || prep.State == nil {
		var err error
		if prep, err = (restDriver{}).Prepare(ctx, in); err != nil {
			return nil, err
		}
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	p, ok := prep.State.(*parsed)
	if !ok {
		return nil, driver.Permanent(fmt.Errorf("http: prepared state is a %T", prep.State))
	}
	var d plan.Diagnostics
	for i := range p.objects {
		st.desire(&p.objects[i], &d)
	}
	if err := d.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	return st, nil
}

// desire makes an item of an object that a file asks for.
func (s *set) desire(w *wanted, d *plan.Diagnostics) {
	t := s.connect.Types[w.typ]
	if t == nil {
		d.Errorf(w.source, "", "write one of "+strings.Join(sortedKeys(s.connect.Types), ", "), "the environment has no type %q", w.typ)
		return
	}
	if w.unknown != "" {
		s.unknown = w.unknown
		return
	}
	key, ok := t.key(w.doc)
	if !ok {
		d.Errorf(w.source, "", "give "+strings.Join(t.Key, " and "), "the object has no name")
		return
	}
	addr := plan.Address(w.typ + "/" + key)
	if was := s.want[addr]; was != nil {
		d.Errorf(w.source, "", "remove one of them", "%s is asked for at %s too", addr, was.Source)
		return
	}
	if sc, ok := s.in.Scope.(*Scope); ok && sc != nil && !sc.Contains(plan.Key{Address: addr}, w.typ) {
		d.Errorf(w.source, "scope", "remove the object, or widen the scope", "%s lies outside the target's scope", addr)
		return
	}
	o := &object{typ: w.typ, doc: w.doc, shown: normal(copyOf(w.doc, t.Ignore)), sensitive: append(append([]string{}, t.Secret...), w.sensitive...)}
	it := &item{Key: plan.Key{Address: addr}, Kind: w.typ, Class: cmp.Or(t.Class, w.typ), Source: w.source, Value: o, Hash: s.hash("", o.shown)}
	s.want[addr], s.order = it, append(s.order, it)
}

// key gives an object's name in its type.
func (t *Type) key(doc any) (string, bool) {
	parts := make([]string, len(t.Key))
	for i, p := range t.Key {
		v, _ := lookup(doc, p)
		s, ok := word(v)
		if !ok || strings.ContainsAny(s, "\n\r\x00") {
			return "", false
		}
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(s, "%", "%25"), "/", "%2F")
	}
	return strings.Join(parts, "/"), true
}

// hash stands for a document, secrets included.
func (s *session) hash(mark string, doc any) string {
	b, err := json.Marshal(doc)
	if err != nil {
		b = fmt.Appendf(nil, "%v", doc)
	}
	m := hmac.New(sha256.New, append([]byte("http "+mark), s.key...))
	m.Write(b)
	return hex.EncodeToString(m.Sum(nil))
}

// Desired gives what the files ask for.
func (s *set) Desired(context.Context, driver.Input) ([]item, error) {
	out := make([]item, len(s.order))
	for i, it := range s.order {
		out[i] = *it
	}
	return out, nil
}

// Show gives the compared part of an object, and what of it is secret.
func (s *set) Show(it item) (json.RawMessage, []string, error) {
	b, err := json.Marshal(it.Value.shown)
	return b, it.Value.sensitive, err
}
