package files

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
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

// Show gives an object as a document: content as text where it is small,
// otherwise its size and sum.
func (s *set) Show(it item) (json.RawMessage, []string, error) {
	e := it.Value
	d := document{Type: e.Kind}
	var sensitive []string
	if e.Kind == kindFile || e.Kind == kindDir {
		d.Mode = modeText(e.Mode)
	}
	if e.Owner != nil {
		d.Owner = fmt.Sprintf("%d:%d", e.Owner.uid, e.Owner.gid)
	}
	switch e.Kind {
	case kindSymlink:
		d.Target = e.Link
		if e.Sensitive {
			sensitive = []string{"/target"}
		}
	case kindFile:
		if text, ok := s.text(string(it.Address), e); ok {
			d.Content = &text
		} else {
			d.Size, d.SHA256 = e.Size, hex.EncodeToString(e.Sum[:])
		}
		if e.Sensitive {
			sensitive = []string{"/content", "/sha256", "/size"}
		}
	}
	doc, err := json.Marshal(d)
	return doc, sensitive, err
}

// modeText gives a mode in octal, with the bits that no target may ask for but
// that somebody may have set.
func modeText(m fs.FileMode) string {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	return fmt.Sprintf("%04o", bits)
}

// shownMasked tells whether a remembered document has its content masked.
func shownMasked(doc json.RawMessage) bool {
	var d struct{ Content, SHA256 string }
	if err := json.Unmarshal(doc, &d); err != nil {
		return true
	}
	return strings.HasPrefix(d.Content, "***") || strings.HasPrefix(d.SHA256, "***")
}

// text gives a small file's content, unless it is binary or changed meanwhile.
func (s *set) text(name string, e *entry) (string, bool) {
	if e.Size > maxShown {
		return "", false
	}
	f, err := s.open(name, e)
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

func (s *set) open(name string, e *entry) (io.ReadCloser, error) {
	if e.From != "" {
		return e.content(s.in)
	}
	dir, base := parentOf(name)
	at, err := s.place.enter(dir, false)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	info, err := at.Lstat(base)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, os.ErrInvalid
	}
	return openSame(at, base, info)
}
