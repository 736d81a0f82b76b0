package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"trueup.dev/trueup/internal/plan"
)

// Bounds on the texts of files in a plan.
const (
	maxShown  = 16 << 10 // of one file
	maxTexts  = 500      // files of a host that are shown with their old text
	maxNew    = 4 << 10  // of a file that is new: it can be seen in the repository
	shownText = 4 << 20  // of all different texts of a plan
)

func plainText(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsRune(string(b), 0)
}

// texts reads the small files that are going to change, so that plans can show
// what changes. Only what is ours, or not masked, is read.
func (h *host) texts(ctx context.Context, subs []subject, found []*object) error {
	have := make(map[plan.Address]*pathState, len(found))
	for _, o := range found {
		if s, ok := o.State.(*pathState); ok {
			have[o.Address] = s
		}
	}
	var names []string
	for _, s := range subs {
		if s.want == nil || s.want.Kind != kindFile {
			continue
		}
		w, ok := s.want.State.(*pathState)
		old := have[s.address]
		if !ok || old == nil || old.Type != kindFile || old.Sensitive || old.Size > maxShown || w.Size > maxShown || old.SHA256 == w.SHA256 {
			continue
		}
		names = append(names, string(s.address))
		if len(names) == maxTexts {
			break
		}
	}
	if len(names) == 0 {
		return nil
	}
	got, err := readContents(ctx, h.t, names)
	if err != nil {
		return err
	}
	for _, n := range names {
		old := have[plan.Address(n)]
		b, ok := got[n]
		sum := sha256.Sum256(b)
		if ok && hex.EncodeToString(sum[:]) == old.SHA256 && plainText(b) {
			text := string(b)
			old.text = &text
		}
	}
	return nil
}

// addTexts adds to the changes of a plan what they change in small texts. It
// is for those who look at the plan; what is written is bound by the sums.
func (s *set) addTexts(p *plan.Plan, want, have map[plan.Key]*object) error {
	left := shownText
	counted := map[string]bool{}
	for i := range p.Changes {
		c := &p.Changes[i]
		w, h := fileOf(want[c.Key]), fileOf(have[c.Key])
		if w == nil || len(c.Sensitive) > 0 || c.Action == plan.Adopt {
			continue
		}
		most := int64(maxShown)
		if h == nil && w.src.tmplText() == "" {
			most = maxNew
		}
		if w.unknown || w.Size > most || h != nil && h.text == nil {
			continue
		}
		b, err := w.src.bytes()
		if err != nil || !plainText(b) {
			continue // it is read again, and judged, when it is written
		}
		if !counted[w.SHA256] {
			counted[w.SHA256] = true
			left -= len(b)
		}
		if left < 0 {
			return nil
		}
		text := string(b)
		if c.After, err = withContent(c.After, &text); err != nil {
			return err
		}
		if h != nil {
			if c.Before, err = withContent(c.Before, h.text); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileOf gives the state of an object that is a file.
func fileOf(o *object) *pathState {
	if o == nil {
		return nil
	}
	s, ok := o.State.(*pathState)
	if !ok || s.Type != kindFile {
		return nil
	}
	return s
}

// tmplText tells whether the content was made from a template: then it can't
// be seen in the repository.
func (s *source) tmplText() string {
	if s.file != "" && s.body != nil {
		return s.file
	}
	return ""
}

func withContent(doc json.RawMessage, text *string) (json.RawMessage, error) {
	var d pathDocument
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, err
	}
	d.Content = text
	return json.Marshal(d)
}

// withoutTexts gives a plan whose changes are as they were before addTexts.
func withoutTexts(p *plan.Plan) *plan.Plan {
	out := *p
	out.Changes = slices.Clone(p.Changes)
	for i := range out.Changes {
		c := &out.Changes[i]
		if c.Kind != kindFile || len(c.Sensitive) > 0 {
			continue
		}
		for _, doc := range []*json.RawMessage{&c.Before, &c.After} {
			if len(*doc) == 0 {
				continue
			}
			if bare, err := withContent(*doc, nil); err == nil {
				*doc = bare
			}
		}
	}
	return &out
}
