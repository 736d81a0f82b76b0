package sftp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxShown is the size up to which a file's content stands in plans.
const maxShown = 32 << 10

// document is how an object is shown.
type document struct {
	Type    string  `json:"type"`
	Mode    string  `json:"mode,omitempty"`
	Owner   string  `json:"owner,omitempty"`
	Target  string  `json:"target,omitempty"`
	Content *string `json:"content,omitempty"`
	Size    int64   `json:"size,omitempty"`
	SHA256  string  `json:"sha256,omitempty"`
}

// remembered is what the inventory keeps of an object. Stat stands for size,
// time, mode and owner as the server gave them after the write.
type remembered struct {
	Type   string `json:"type"`
	Stat   string `json:"stat,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

func recorded(doc json.RawMessage) string {
	var r remembered
	if json.Unmarshal(doc, &r) != nil || r.Stat == "" {
		return "nothing"
	}
	return r.Stat
}

// Keep gives the document that the inventory remembers.
func (s *set) Keep(it item) (json.RawMessage, []string, error) {
	e := it.Value
	r := remembered{Type: e.Kind, Hidden: e.Sensitive}
	if e.Kind == kindFile && e.Stamp != (stamp{}) {
		r.Stat = e.Stamp.record(s.key, it.Address)
	}
	doc, err := json.Marshal(r)
	return doc, nil, err
}

// Show gives an object as a document: content as text where it is small,
// otherwise its size and sum.
func (s *set) Show(it item) (json.RawMessage, []string, error) {
	e := it.Value
	d := document{Type: e.Kind, Owner: e.Owner, Target: e.Link}
	var sensitive []string
	if e.Kind != kindSymlink && !s.want.spec.IgnoreModes {
		d.Mode = fmt.Sprintf("%04o", uint32(e.Mode.Perm()))
	}
	switch {
	case e.Kind == kindSymlink && e.Sensitive:
		sensitive = []string{"/target"}
	case e.Kind == kindFile:
		if text, ok := s.text(string(it.Address), e); ok {
			d.Content = &text
		} else if d.Size = e.Size; e.known == "" {
			d.SHA256 = hex.EncodeToString(e.Sum[:])
		}
		if e.Sensitive {
			sensitive = []string{"/content", "/sha256", "/size"}
		}
	}
	doc, err := json.Marshal(d)
	return doc, sensitive, err
}

// text gives a small file's content, unless it is binary or changed meanwhile.
func (s *set) text(n string, e *entry) (string, bool) {
	if e.Size > maxShown {
		return "", false
	}
	var f io.ReadCloser
	var err error
	if e.From != "" {
		f, err = s.in.Tree.Open(e.From)
	} else {
		f, err = s.remote.Open(s.remote.path(n))
	}
	if err != nil {
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxShown+1))
	if err != nil || int64(len(b)) != e.Size || !utf8.Valid(b) {
		return "", false
	}
	return string(b), true
}
