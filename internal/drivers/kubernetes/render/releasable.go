package render

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Seen is what a chart sees of its release and of the cluster.
type Seen struct {
	// Moments are the revisions to render for.
	Moments []Moment
	// Now is the time that templates see.
	Now time.Time
	// Lookup reads an object, or with no name the list of a kind, and gives an
	// empty one where there is none. Nil refuses it: a chart that finds nothing
	// would make up anew what it made up before.
	Lookup func(ctx context.Context, apiVersion, kind, namespace, name string) (map[string]any, error)
}

// Moment is one revision of a release.
type Moment struct {
	Revision int
	Upgrade  bool
}

// Releasable is a chart as a release: what Helm needs to install it without
// running any template itself.
type Releasable struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Chart is the chart as Helm keeps it, in JSON.
	Chart json.RawMessage `json:"chart"`
	// Values are those of the target, and Sensitive JSON pointers to those that
	// must not show.
	Values    map[string]any `json:"values"`
	Sensitive []string       `json:"sensitive,omitempty"`
	// Unknown are JSON pointers to values that are known only later.
	Unknown    []string    `json:"unknown,omitempty"`
	CRDs       []Text      `json:"crds,omitempty"`
	Renderings []Rendering `json:"renderings"`
	Hidden     Hidden      `json:"hidden"`
}

// Text is a file by its name.
type Text struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Rendering is what a chart renders to at one moment.
type Rendering struct {
	Moment Moment `json:"moment"`
	// Files are the outputs of the templates, and Again those of a second time:
	// what differs goes by chance or by the clock.
	Files map[string]string `json:"files"`
	Again map[string]string `json:"again"`
	Notes map[string]string `json:"notes,omitempty"`
}

// Hidden are texts that must not show.
type Hidden struct {
	Inside []string            `json:"inside,omitempty"`
	Words  []string            `json:"words,omitempty"`
	Exact  map[string][]string `json:"exact,omitempty"`

	known *secrets
}

func (s *secrets) hidden() Hidden {
	h := Hidden{Inside: sortedKeys(s.inside), Words: sortedKeys(s.words), Exact: map[string][]string{}}
	for file, texts := range s.exact {
		h.Exact[file] = sortedKeys(texts)
	}
	return h
}

func (h *Hidden) secrets() *secrets {
	if h.known != nil {
		return h.known
	}
	s := newSecrets()
	for _, t := range h.Inside {
		s.inside[t] = true
	}
	for _, t := range h.Words {
		s.words[t] = true
	}
	for file, texts := range h.Exact {
		s.exact[file] = map[string]bool{}
		for _, t := range texts {
			s.exact[file][t] = true
		}
	}
	return s
}

// Scrub takes secrets out of a message.
func (h *Hidden) Scrub(text string) string { return h.secrets().scrub(text) }

// Mark notes in an object what must not show, and what is known only later.
func (h *Hidden) Mark(o *manifest.Object) {
	s := h.secrets()
	leaves(o.Object, "", func(at string, leaf any) {
		if !s.empty() && s.holds(o.Source.File, leaf) {
			o.Sensitive = append(o.Sensitive, at)
		}
		if text, ok := leaf.(string); ok && laterDeep(text, 3) {
			o.Unknown = append(o.Unknown, at)
		}
	})
}

// Holds tells whether a value shows a secret.
func (h *Hidden) Holds(leaf any) bool { return h.secrets().holdsAny(leaf) }

func (s *secrets) holdsAny(leaf any) bool {
	if s.holds("", leaf) {
		return true
	}
	for file := range s.exact {
		if s.holds(file, leaf) {
			return true
		}
	}
	return false
}

// shifted is how far the clock is moved between two renderings, so that whatever
// depends on it shows.
const shifted = 1000*time.Hour + 61*time.Second

// asRelease renders the chart for each moment, twice.
func (h *release) asRelease() error {
	seen := h.in.Release
	if seen == nil {
		h.used.lookup = h.unseen
		seen = &Seen{Now: h.used.clock}
	} else {
		h.used.lookup = h.seen
	}
	moments := seen.Moments
	if len(moments) == 0 {
		moments = []Moment{{Revision: 1}}
	}
	out := &Releasable{Values: deepCopy(h.values), Namespace: h.namespace()}
	for i, m := range moments {
		h.moment, h.used.clock = m, seen.Now
		first, err := h.all()
		if err != nil {
			return h.softFailure(err)
		}
		if i == 0 {
			if err := h.describeRelease(out, first); err != nil {
				return err
			}
		}
		r := Rendering{Moment: m, Files: first.texts, Again: first.texts, Notes: first.notes}
		h.used.clock = seen.Now.Add(shifted)
		if second, _, err := h.once(); err == nil {
			r.Again = second.texts
		}
		out.Renderings = append(out.Renderings, r)
	}
	out.Hidden = h.run.files.secrets.hidden()
	h.out.Release = out
	h.soften()
	return nil
}

// describeRelease fills in what is the same at every moment.
func (h *release) describeRelease(out *Releasable, o *output) (err error) {
	if o.chart == nil {
		return nil // all of it is a mistake
	}
	out.Name = h.releaseName(o.chart)
	if out.Chart, err = json.Marshal(o.chart); err != nil {
		return err
	}
	for _, c := range o.crds {
		out.CRDs = append(out.CRDs, Text{c.name, c.data})
	}
	leaves(out.Values, "", func(at string, leaf any) {
		if h.run.files.secrets.holdsAny(leaf) {
			out.Sensitive = append(out.Sensitive, at)
		}
		if text, ok := leaf.(string); ok && laterDeep(text, 3) {
			out.Unknown = append(out.Unknown, at)
		}
	})
	for _, t := range sortedKeys(o.texts) {
		h.objects(t, o.texts[t], o.sources[t])
	}
	return nil
}

// unseen answers a lookup where there is no cluster.
func (h *release) unseen(_, kind, namespace, name string) (map[string]any, error) {
	h.note("the chart looks for %s %s in the cluster", kind, strings.Trim(namespace+"/"+name, "/"))
	return map[string]any{}, nil
}

var errLookup = errors.New("the chart reads the cluster while it is rendered (lookup), which the operator has to allow: connect.helm.lookup")

// seen answers a lookup from the cluster.
func (h *release) seen(apiVersion, kind, namespace, name string) (map[string]any, error) {
	if h.in.Release.Lookup == nil {
		return nil, errLookup
	}
	found, err := h.in.Release.Lookup(h.ctx, apiVersion, kind, namespace, name)
	if err == nil && apiVersion == "v1" && kind == "Secret" {
		h.hide(found)
	}
	return found, err
}

// hide has the data of Secrets that a chart looked up show nowhere.
func (h *release) hide(found map[string]any) {
	items, list := found["items"].([]any)
	if !list {
		items = []any{found}
	}
	for _, x := range items {
		m, _ := x.(map[string]any)
		data, _ := m["data"].(map[string]any)
		for _, v := range data {
			text, _ := v.(string)
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
				h.run.files.secrets.add("", string(plain))
			}
		}
	}
}

// seen is what the parent told of the release; what it did not is asked for.
func (p *parent) seen(j *job) *Seen {
	s := &Seen{Moments: j.Moments, Now: j.Now}
	if !j.Lookup {
		return s
	}
	s.Lookup = func(_ context.Context, apiVersion, kind, namespace, name string) (map[string]any, error) {
		what, err := json.Marshal([4]string{apiVersion, kind, namespace, name})
		if err != nil {
			return nil, err
		}
		a, err := p.ask(ask{Op: "lookup", Name: string(what)})
		if err != nil {
			return nil, err
		}
		var found map[string]any
		return found, json.Unmarshal(a.Data, &found)
	}
	return s
}

// lookedUp answers a child's question for an object.
func (r *run) lookedUp(what string) ([]byte, error) {
	var of [4]string
	if err := json.Unmarshal([]byte(what), &of); err != nil || r.in.Release == nil || r.in.Release.Lookup == nil {
		return nil, fmt.Errorf("the process that renders asked for %q", what)
	}
	found, err := r.in.Release.Lookup(r.ctx, of[0], of[1], of[2], of[3])
	if err != nil {
		return nil, err
	}
	return json.Marshal(found)
}
