package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

const kindBlock = "block"

// blockKind is marked blocks in files that others own.
type blockKind struct{}

func (blockKind) info() kindInfo {
	return kindInfo{names: []string{kindBlock}, sections: []string{"blocks"}, class: "file", rank: rankBlock,
		blank: func(string) state { return &blockState{} }}
}

// blockState is the text between two markers.
type blockState struct {
	Comment   string `json:"comment"` // what begins (and ends) a comment in this file
	Content   string `json:"content"`
	Sensitive bool   `json:"sensitive,omitempty"`
	// Broken says why the block can't be told from the rest of the file.
	Broken string `json:"broken,omitempty"`

	tmpl    *tmpl
	unknown bool
}

func (s *blockState) ident() string {
	id := []any{s.Comment, s.Content, s.Broken}
	if s.unknown {
		id = append(id, "unknown")
	}
	return identOf(id)
}

func (s *blockState) show() (any, []string) {
	if s.Sensitive {
		return s, []string{"/content"}
	}
	return s, nil
}

// blockSpec is one entry under blocks.
type blockSpec struct {
	Source   string  `yaml:"source"`
	Template string  `yaml:"template"`
	Content  *string `yaml:"content"`
	// Comment begins a comment in the file, "#" by default; a second word ends
	// it, as in "<!-- -->".
	Comment   string   `yaml:"comment"`
	Sensitive bool     `yaml:"sensitive"`
	TakeOver  bool     `yaml:"takeOver"`
	Notify    []string `yaml:"notify" strict:"one"`
}

var blockName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

const maxBlock = 64 << 10

// parse reads one entry. Its name is the file, with #NAME where it has several
// blocks.
func (blockKind) parse(p *parser, e entry) []*object {
	name := "trueup"
	if file, n, ok := strings.Cut(e.name, "#"); ok {
		e.name, name = file, n
		if !blockName.MatchString(name) {
			p.Errorf(e.key, e.field, "use letters, digits, dots, dashes and underscores", "%q is no name of a block", name)
			return nil
		}
	}
	if !p.hostPath(e) {
		return nil
	}
	var s blockSpec
	p.Decode(e.value, &s, e.field)
	st := &blockState{Comment: orElse(s.Comment, "#"), Sensitive: s.Sensitive}
	if len(strings.Fields(st.Comment)) > 2 || strings.ContainsAny(st.Comment, "\n\r") || len(st.Comment) > 20 {
		p.Errorf(e.value, e.field+".comment", `write what begins a comment, and what ends it, as in "#" or "<!-- -->"`, "%q marks no comment", s.Comment)
	}
	text, ok := p.blockText(e, &s, st)
	if !ok {
		return nil
	}
	if st.tmpl == nil {
		if err := st.set(text); err != nil {
			p.Errorf(e.value, e.field, "", "%v", err)
			return nil
		}
	}
	return []*object{{Kind: kindBlock, Address: plan.Address(kindBlock + ":" + e.name + "#" + name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

func (p *parser) blockText(e entry, s *blockSpec, st *blockState) (string, bool) {
	given := 0
	for _, is := range []bool{s.Source != "", s.Template != "", s.Content != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		p.Errorf(e.value, e.field, "give one of source, template and content", "the block's content is given %d times", given)
		return "", false
	}
	if s.Content != nil {
		return *s.Content, true
	}
	field, name := "source", s.Source
	if s.Template != "" {
		field, name = "template", s.Template
	}
	full, ok := p.source(e, field, name)
	if !ok {
		return "", false
	}
	var file pathState
	if !p.content(&file, full, s.Template != "", p.At(strict.Locate(e.value, field)), e.field+"."+field) {
		return "", false
	}
	if st.tmpl = file.src.tmpl; st.tmpl != nil {
		return "", true
	}
	b, err := p.bytes(full, maxBlock)
	if err != nil {
		p.Errorf(e.value, e.field+"."+field, "", "%v", err)
		return "", false
	}
	return string(b), true
}

// set takes the text, which ends with a line break.
func (s *blockState) set(text string) error {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	switch {
	case len(text) > maxBlock:
		return fmt.Errorf("a block may have %d bytes at most", maxBlock)
	case strings.ContainsRune(text, 0):
		return errors.New("a block must be text")
	case strings.Contains(text, markerWord):
		return fmt.Errorf("a block may not hold the words %q, which mark blocks", strings.TrimSpace(markerWord))
	}
	s.Content = text
	return nil
}

func (s *blockState) resolve(h *host) (state, error) {
	if s.tmpl == nil {
		return s, nil
	}
	out, err := s.tmpl.render(h)
	if err != nil {
		return nil, err
	}
	with := *s
	with.Sensitive, with.unknown = s.Sensitive || out.sensitive, out.unknown
	return &with, with.set(string(out.text))
}

// markerWord is part of every marker.
const markerWord = " trueup block "

// markers gives the lines that begin and end a block.
func markers(comment, name string) (begin, end string) {
	open, shut, _ := strings.Cut(comment, " ")
	if shut != "" {
		shut = " " + shut
	}
	return open + " BEGIN" + markerWord + name + shut, open + " END" + markerWord + name + shut
}

// find gives where a block lies in a file: its whole extent, and its content.
type extent struct{ start, body, bodyEnd, end int }

func find(text []byte, comment, name string) (*extent, error) {
	begin, end := markers(comment, name)
	var x *extent
	pos := 0
	for line := range bytes.Lines(text) {
		next := pos + len(line)
		switch string(bytes.TrimRight(line, " \t\r\n")) {
		case begin:
			if x != nil {
				return nil, fmt.Errorf("the line %q stands twice", begin)
			}
			x = &extent{start: pos, body: next, end: -1}
		case end:
			if x == nil || x.end >= 0 {
				return nil, fmt.Errorf("the line %q has no beginning before it", end)
			}
			x.bodyEnd, x.end = pos, next
		}
		pos = next
	}
	if x != nil && x.end < 0 {
		return nil, fmt.Errorf("the line %q is missing", end)
	}
	return x, nil
}

// splice gives the file's text with the block as it should be; nil takes it
// out.
func splice(text []byte, name string, want *blockState, comment string) ([]byte, error) {
	x, err := find(text, comment, name)
	if err != nil {
		return nil, err
	}
	var block string
	if want != nil {
		begin, end := markers(want.Comment, name)
		block = begin + "\n" + want.Content + end + "\n"
	}
	var out bytes.Buffer
	if x == nil {
		out.Write(text)
		if n := len(text); n > 0 && text[n-1] != '\n' && block != "" {
			out.WriteByte('\n')
		}
		out.WriteString(block)
		return out.Bytes(), nil
	}
	out.Write(text[:x.start])
	out.WriteString(block)
	out.Write(text[x.end:])
	return out.Bytes(), nil
}

// look asks for the whole files.
func (blockKind) look(p *probe, subs []subject) {
	for _, s := range subs {
		p.content(pathOf(s.address))
	}
}

const maxHostFile = 1 << 20

// hostText gives the text of a file that others own, and why it can't be
// changed piece by piece.
func hostText(a *answer, name string) (text []byte, reason string) {
	f := a.path(name)
	if f == nil {
		return nil, ""
	}
	text, ok := a.content(name)
	switch {
	case f.Hidden:
		return nil, "a directory on the way can't be entered"
	case f.kind() != kindFile:
		return nil, "it is a " + f.kind() + ", not a file"
	case !ok:
		return nil, "it can't be read"
	case len(text) > maxHostFile:
		return nil, fmt.Sprintf("it is larger than %d bytes", maxHostFile)
	}
	return text, ""
}

func (blockKind) observe(a *answer, subs []subject) ([]*object, error) {
	var out []*object
	for _, s := range subs {
		open, _ := s.open().(*blockState)
		st := &blockState{Comment: "#"}
		if open != nil {
			st.Comment, st.Sensitive = open.Comment, open.Sensitive
		}
		text, reason := hostText(a, pathOf(s.address))
		var x *extent
		if reason == "" {
			var err error
			if x, err = find(text, st.Comment, blockOf(s.address)); err != nil {
				reason = "its markers are broken: " + err.Error()
			}
		}
		switch {
		case reason != "":
			st.Broken = reason
		case x == nil:
			continue
		default:
			st.Content = string(text[x.body:x.bodyEnd])
			st.Sensitive = s.hides([]byte(st.Content), func(s state) (string, bool) {
				if b, ok := s.(*blockState); ok {
					return b.Content, b.Sensitive
				}
				return "", false
			})
		}
		out = append(out, &object{Kind: kindBlock, Address: s.address, State: st})
	}
	return out, nil
}

// blockOf gives the name of a block.
func blockOf(a plan.Address) string {
	return string(a[strings.LastIndexByte(string(a), '#')+1:])
}

// note holds what can't be changed.
func (blockKind) note(c *plan.Change, _, have *object) {
	if have == nil {
		return
	}
	if s, ok := have.State.(*blockState); ok && s.Broken != "" {
		c.Conflict = pathOf(c.Address) + ": " + s.Broken
	}
}

// write changes the files, each once.
func (blockKind) write(w *writer, steps []step) {
	for i := 0; i < len(steps); {
		file := pathOf(steps[i].Change.Address)
		n := i + 1
		for n < len(steps) && pathOf(steps[n].Change.Address) == file {
			n++
		}
		writeBlocks(w, file, steps[i:n])
		i = n
	}
}

func writeBlocks(w *writer, file string, steps []step) {
	text, reason := hostText(w.host.answer, file)
	for _, st := range steps {
		if reason != "" {
			break
		}
		var want *blockState
		comment := "#"
		if st.Old != nil {
			comment = st.Old.Value.State.(*blockState).Comment
		}
		if st.New != nil {
			want = st.New.Value.State.(*blockState)
			comment = want.Comment
		}
		var err error
		if text, err = splice(text, blockOf(st.Change.Address), want, comment); err != nil {
			reason = "its markers are broken: " + err.Error()
		}
	}
	if reason != "" {
		fmt.Fprintf(w, "echo %s\nno %s\n", quote(file+": "+reason), strings.Trim(w.list(steps), "'"))
		return
	}
	w.replace(file, text, steps)
}

// replace writes a whole file that others own: with its mode and owner, once
// it is sure that it still is what was read.
func (w *writer) replace(file string, text []byte, steps []step) {
	dir, base := splitPath(file)
	name := "./" + base
	s := &pathState{Type: kindFile, Mode: "0644"}
	var old *pathState
	if f := w.host.answer.path(file); f != nil {
		old = observed(f, nil)
		s.Mode = old.Mode
	}
	prep := []string{inline(text) + " >" + quote(name), owner(s, old, "", name), "chmod " + s.Mode + " " + quote(name), "sy " + quote(name),
		orElse(sudoers(file, name), ":"), check("../"+base, old), "mv -f -- " + quote(name) + " ../"}
	w.touched = append(w.touched, path.Clean(dir))
	ids := strings.Trim(w.list(steps), "'")
	w.in(path.Clean(dir), steps, fmt.Sprintf("stage || { no %s; exit; }\ntry %s %s\n", ids, w.list(steps), quote(all(prep))))
}
