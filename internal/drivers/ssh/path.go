package ssh

import (
	"bytes"
	"encoding/json"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"trueup.dev/trueup/internal/driver"
)

// The kinds of objects that are paths.
const (
	kindFile    = "file"
	kindDir     = "dir"
	kindSymlink = "symlink"
	// kindOther is a device, socket or pipe that somebody put there.
	kindOther = "other"
)

// pathKind is files, directories, symbolic links and whole trees of them.
type pathKind struct{}

func (pathKind) info() kindInfo {
	return kindInfo{names: []string{kindFile, kindDir, kindSymlink, kindOther}, sections: []string{"files", "directories", "symlinks", "trees"},
		class: "file", rank: rankPath, blank: func(string) state { return &pathState{} }}
}

// pathState is what there is, or should be, at a path.
type pathState struct {
	Type   string `json:"type"`
	Mode   string `json:"mode,omitempty"`  // octal; "" for links
	Owner  string `json:"owner,omitempty"` // "" where nobody decides it
	Group  string `json:"group,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	To     string `json:"to,omitempty"` // of a link
	// Sensitive tells that the content is masked in plans.
	Sensitive bool `json:"sensitive,omitempty"`

	// Stamp stands for the content of a large file as it was when it was
	// brought (bigfile.go).
	Stamp string `json:"stamp,omitempty"`
	// Blocks is the sums of its blocks (blocks.go).
	Blocks string `json:"blocks,omitempty"`

	src  *source   // of a desired file
	text *string   // content of an observed file, where a plan shows it
	fact *pathFact // of an observed object
	// unknown tells that the content depends on a value that is not known yet.
	unknown bool
}

// source is where a desired file's content comes from.
type source struct {
	in   driver.Input
	file string // in the repository
	body []byte // inline or rendered
	tmpl *tmpl

	mu     sync.Mutex
	kept   []byte        // what was read
	budget *atomic.Int64 // how much may be kept, of all files of a document
}

// open gives the content.
func (s *source) open() (io.ReadCloser, error) {
	if s.file == "" || s.body != nil {
		return io.NopCloser(bytes.NewReader(s.body)), nil
	}
	return s.in.Tree.Open(s.file)
}

// bytes gives the content of a small file. It is read once for all hosts.
func (s *source) bytes() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept != nil {
		return s.kept, nil
	}
	f, err := s.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxInline+1))
	if err == nil && s.budget != nil && s.budget.Add(-int64(len(b))) > 0 {
		s.kept = b
	}
	return b, err
}

// ident is all that the target decides about the path.
func (s *pathState) ident() string {
	id := []any{s.Type, s.Mode, s.Owner, s.Group, s.Size, s.SHA256, s.To}
	if s.unknown {
		id = append(id, "unknown")
	}
	return identOf(id)
}

// pathDocument is how a path is shown. Content is part of it only where a plan
// shows what changes in a text; it says nothing that the sum does not.
type pathDocument struct {
	Type    string  `json:"type"`
	Mode    string  `json:"mode,omitempty"`
	Owner   string  `json:"owner,omitempty"`
	Group   string  `json:"group,omitempty"`
	To      string  `json:"to,omitempty"`
	Size    *int64  `json:"size,omitempty"`
	SHA256  string  `json:"sha256,omitempty"`
	Content *string `json:"content,omitempty"`
}

// show gives a file by size and sum.
func (s *pathState) show() (any, []string) {
	d := pathDocument{Type: s.Type, Mode: s.Mode, Owner: s.Owner, Group: s.Group, To: s.To}
	if s.Type != kindFile {
		return d, nil
	}
	d.Size, d.SHA256 = &s.Size, s.SHA256
	if s.Sensitive {
		return d, []string{"/content", "/sha256", "/size"}
	}
	return d, nil
}

// keep gives what the inventory remembers: no content.
func (s *pathState) keep() (any, []string) {
	if s.Sensitive {
		return s, []string{"/sha256", "/size"}
	}
	return s, nil
}

// UnmarshalJSON reads a remembered state, of which parts may be masked.
func (s *pathState) UnmarshalJSON(b []byte) error {
	type plain pathState
	var raw struct {
		plain
		Size json.RawMessage `json:"size"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*s = pathState(raw.plain)
	_ = json.Unmarshal(raw.Size, &s.Size) // masked: it stays 0
	return nil
}

// heavy is how much content has to travel.
func (s *pathState) heavy(old *object) int64 {
	if s.Type != kindFile || s.sameContent(old) {
		return 0
	}
	return s.Size
}

// sameContent tells that an old object is a file with this very content.
func (s *pathState) sameContent(old *object) bool {
	if old == nil {
		return false
	}
	o, ok := old.State.(*pathState)
	return ok && o.Type == kindFile && s.Type == kindFile && o.SHA256 == s.SHA256 && o.SHA256 != "" && o.Size == s.Size
}

// look asks for the paths, and for what is in directories that are to go.
func (pathKind) look(p *probe, subs []subject) {
	for _, s := range subs {
		if open, ok := s.open().(*pathState); ok && open.Size >= bigFile {
			if was, ok := s.was.(*pathState); ok && was.Stamp != "" && digestPattern.MatchString(was.SHA256) {
				seenFiles.recall(p.host+" "+string(s.address), known{was.Stamp, was.SHA256, was.Blocks})
			}
			p.big(string(s.address))
		} else {
			p.path(string(s.address))
		}
		if dir, _ := splitPath(string(s.address)); p.counting {
			p.count(dir)
		}
		if open, ok := s.open().(*pathState); ok && open.Owner+open.Group != "" {
			p.names = true
		}
		if s.want == nil && s.kind == kindDir {
			p.list(string(s.address))
		}
	}
}

// observe tells what is there, as far as the repository decides it.
func (pathKind) observe(a *answer, subs []subject) ([]*object, error) {
	going := map[string]bool{} // owned and no longer asked for
	for _, s := range subs {
		if s.want == nil {
			going[string(s.address)] = true
		}
	}
	var out []*object
	for _, s := range subs {
		f := a.path(string(s.address))
		if f == nil {
			continue
		}
		if f.Hidden {
			return nil, hiddenError(s.address)
		}
		if s.want == nil && f.kind() == kindDir && holdsMore(a, string(s.address), going) {
			continue // it holds what others put there, so it is given up
		}
		open, _ := s.open().(*pathState)
		st := observed(f, open)
		st.Sensitive = hides(s, st)
		out = append(out, &object{Kind: st.Type, Address: s.address, State: st})
	}
	return out, nil
}

// strangers counts the names beside the subjects, in the directories that they
// lie in.
func strangers(a *answer, subs []subject) int {
	known := map[string]bool{}
	for _, s := range subs {
		if f := a.path(string(s.address)); f != nil {
			known[string(s.address)] = true
		}
	}
	for dir := range a.counts {
		known[dir] = true // it leads to something of ours
	}
	n := 0
	for _, c := range a.counts {
		n += c
	}
	for path := range known {
		if dir, _ := splitPath(path); path != "/" && a.counts[dir] > 0 {
			n--
		}
	}
	return max(n, 0)
}

// holdsMore tells whether a directory holds what is not to go with it.
func holdsMore(a *answer, dir string, going map[string]bool) bool {
	for _, name := range a.list(dir) {
		if !going[path.Join(dir, name)] && !strings.HasPrefix(name, stagePrefix) {
			return true
		}
	}
	return false
}

// stagePrefix begins the names of directories in which files are prepared.
const stagePrefix = ".trueup-"

// observed makes a state of a fact. What open does not decide is left out.
func observed(f *pathFact, open *pathState) *pathState {
	st := &pathState{Type: f.kind(), fact: f}
	switch st.Type {
	case kindFile:
		st.Size, st.SHA256 = f.Size, f.Sum
		if f.Sum == "" {
			st.SHA256 = "unreadable"
		}
		st.Mode = octalMode(f.Mode)
	case kindDir, kindOther:
		st.Mode = octalMode(f.Mode)
	case kindSymlink:
		st.To = f.To
	}
	if open != nil {
		st.Owner, st.Group = whose(open.Owner, f.User, f.UID), whose(open.Group, f.Group, f.GID)
	}
	return st
}

func octalMode(mode uint32) string {
	const digits = "01234567"
	m := mode & modeMask
	return string([]byte{digits[m>>9&7], digits[m>>6&7], digits[m>>3&7], digits[m&7]})
}

// whose gives an owner in the way it was asked for: by name or by number.
func whose(asked, name, id string) string {
	switch {
	case asked == "":
		return ""
	case asked == id || name == "UNKNOWN" || name == "-":
		return id
	case strings.Trim(asked, "0123456789") == "":
		return id
	}
	return name
}

// hides tells whether what was found is shown masked. What is not ours always
// is, unless it equals what the repository asks for: whoever may write to the
// repository must not read hosts through its plans.
func hides(s subject, st *pathState) bool {
	if s.want != nil {
		w, ok := s.want.State.(*pathState)
		if ok && w.Sensitive {
			return true
		}
		if ok && w.Type == st.Type && w.SHA256 == st.SHA256 {
			return false
		}
	}
	was, ok := s.was.(*pathState)
	return s.owned == nil || !ok || was.Sensitive
}
