package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// fileSpec is one entry under files.
type fileSpec struct {
	// Source is a file beside the document, copied as it is.
	Source string `yaml:"source"`
	// Template is a file beside the document in which {{ .name }} is filled in.
	Template string `yaml:"template"`
	// Content is the content itself.
	Content *string `yaml:"content"`
	// Mode is 0644, or 0755 where Git marks the source executable.
	Mode      string   `yaml:"mode"`
	Owner     string   `yaml:"owner"`
	Group     string   `yaml:"group"`
	Sensitive bool     `yaml:"sensitive"`
	TakeOver  bool     `yaml:"takeOver"`
	Notify    []string `yaml:"notify" strict:"one"`
}

type dirSpec struct {
	Mode     string   `yaml:"mode"`
	Owner    string   `yaml:"owner"`
	Group    string   `yaml:"group"`
	TakeOver bool     `yaml:"takeOver"`
	Notify   []string `yaml:"notify" strict:"one"`
}

type linkSpec struct {
	To       string   `yaml:"to" jsonschema:"required"`
	TakeOver bool     `yaml:"takeOver"`
	Notify   []string `yaml:"notify" strict:"one"`
}

// treeSpec is one entry under trees: a directory of the repository, mirrored.
type treeSpec struct {
	// Source is a directory beside the document.
	Source    string            `yaml:"source" jsonschema:"required"`
	Modes     map[string]string `yaml:"modes"`     // of files, by glob
	DirMode   string            `yaml:"dirMode"`   // 0755 by default
	Owner     string            `yaml:"owner"`     // of everything
	Group     string            `yaml:"group"`     // of everything
	Templates []string          `yaml:"templates"` // globs of files to fill in
	Sensitive []string          `yaml:"sensitive"` // globs of files to mask
	Ignore    []string          `yaml:"ignore"`    // globs of files to leave out
	TakeOver  bool              `yaml:"takeOver"`
	Notify    []string          `yaml:"notify" strict:"one"`
}

// parse reads one entry of files, directories, symlinks or trees.
func (pathKind) parse(p *parser, e entry) []*object {
	if !p.hostPath(e) {
		return nil
	}
	switch e.section {
	case "directories":
		return p.directory(e)
	case "symlinks":
		return p.symlink(e)
	case "trees":
		return p.tree(e)
	}
	return p.file(e)
}

const maxPath = 4000

// hostPath checks the name of an entry that is a path on the host.
func (p *parser) hostPath(e entry) bool {
	base := path.Base(e.name)
	switch {
	case !strings.HasPrefix(e.name, "/") || path.Clean(e.name) != e.name || e.name == "/":
		p.Errorf(e.key, e.field, "write an absolute path without ., .. and double slashes", "%q is no path on a host", e.name)
	case len(e.name) > maxPath || strings.ContainsRune(e.name, 0):
		p.Errorf(e.key, e.field, "", "the path is too long or holds a NUL")
	case strings.Contains(e.name, "/"+stagePrefix):
		p.Errorf(e.key, e.field, "choose another name", "names that begin with %s belong to trueup", stagePrefix)
	case len(base) > 255:
		p.Errorf(e.key, e.field, "", "the name is longer than 255 bytes")
	default:
		return true
	}
	return false
}

func (p *parser) file(e entry) []*object {
	var s fileSpec
	p.Decode(e.value, &s, e.field)
	st := &pathState{Type: kindFile, Owner: s.Owner, Group: s.Group, Sensitive: s.Sensitive}
	p.owners(e, s.Owner, s.Group)
	given := 0
	for _, is := range []bool{s.Source != "", s.Template != "", s.Content != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		p.Errorf(e.value, e.field, "give one of source, template and content", "the file's content is given %d times", given)
		return nil
	}
	mode := "0644"
	switch {
	case s.Content != nil:
		st.fill([]byte(*s.Content))
		st.src = &source{body: []byte(*s.Content)}
	default:
		name, field := s.Source, "source"
		if s.Template != "" {
			name, field = s.Template, "template"
		}
		full, ok := p.source(e, field, name)
		if !ok || !p.content(st, full, s.Template != "", p.At(strict.Locate(e.value, field)), e.field+"."+field) {
			return nil
		}
		if p.sums[full].exec {
			mode = "0755"
		}
	}
	st.Mode = p.mode(e, "mode", s.Mode, mode, 0o777)
	return []*object{{Kind: kindFile, Address: plan.Address(e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

// content reads a file of the snapshot into a state: its sum, or its template.
func (p *parser) content(st *pathState, full string, templated bool, at plan.Source, field string) bool {
	s, err := p.sum(full)
	if errors.Is(err, fs.ErrNotExist) {
		p.Diags.Errorf(at, field, "", "%s does not exist in the repository", full)
		return false
	}
	if err != nil {
		p.Diags.Errorf(at, field, "", "%v", err)
		return false
	}
	st.src = &source{in: p.in, file: full, budget: &p.doc.budget}
	if !templated {
		st.Size, st.SHA256 = s.size, s.hex
		return true
	}
	text, err := p.bytes(full, maxTemplate)
	if err != nil {
		p.Diags.Errorf(at, field, "", "%v", err)
		return false
	}
	t, err := parseTemplate(string(text), plan.Source{File: full, Line: 1})
	if err != nil {
		p.Add(templateError(err, plan.Source{File: full, Line: 1}, ""))
		return false
	}
	p.uses(t)
	st.src.tmpl = t
	return true
}

// uses notes which of the target's values a template takes, and whether it
// needs facts.
func (p *parser) uses(t *tmpl) {
	for _, n := range t.names {
		if _, ok := p.in.Values[n]; ok {
			p.doc.use(n)
		}
		if n == "facts" {
			p.doc.needsFacts = true
		}
	}
}

func (d *document) use(value string) {
	for _, v := range d.values {
		if v == value {
			return
		}
	}
	d.values = append(d.values, value)
}

func (s *pathState) fill(body []byte) {
	h := sha256.Sum256(body)
	s.Size, s.SHA256 = int64(len(body)), hex.EncodeToString(h[:])
}

// resolve fills a template in.
func (s *pathState) resolve(h *host) (state, error) {
	if s.src == nil || s.src.tmpl == nil {
		return s, nil
	}
	out, err := s.src.tmpl.render(h)
	if err != nil {
		return nil, err
	}
	with := *s
	with.src = &source{in: s.src.in, file: s.src.file, body: out.text}
	if with.src.body == nil {
		with.src.body = []byte{}
	}
	with.fill(out.text)
	with.Sensitive, with.unknown = s.Sensitive || out.sensitive, out.unknown
	return &with, nil
}

func (p *parser) directory(e entry) []*object {
	var s dirSpec
	p.Decode(e.value, &s, e.field)
	p.owners(e, s.Owner, s.Group)
	st := &pathState{Type: kindDir, Owner: s.Owner, Group: s.Group, Mode: p.mode(e, "mode", s.Mode, "0755", 0o3777)}
	return []*object{{Kind: kindDir, Address: plan.Address(e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

func (p *parser) symlink(e entry) []*object {
	var s linkSpec
	p.Decode(e.value, &s, e.field)
	if s.To == "" || strings.ContainsRune(s.To, 0) || len(s.To) > maxPath {
		p.Errorf(e.value, e.field+".to", "say where the link leads", "%q is no target of a link", s.To)
		return nil
	}
	st := &pathState{Type: kindSymlink, To: s.To}
	return []*object{{Kind: kindSymlink, Address: plan.Address(e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
}

// mode reads a mode, or gives the default.
func (p *parser) mode(e entry, field, given, otherwise string, most uint32) string {
	if given == "" {
		return otherwise
	}
	m, err := parseMode(given, most)
	if err != nil {
		p.Errorf(e.value, e.field+"."+field, `write it in octal and in quotes, for example "0640"`, "%v", err)
		return otherwise
	}
	return m
}

var ownerName = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_.-]{0,62}\$?|[0-9]{1,10})$`)

// owners checks the names of a user and a group.
func (p *parser) owners(e entry, user, group string) {
	if user != "" && !ownerName.MatchString(user) {
		p.Errorf(e.value, e.field+".owner", "write a user's name or number", "%q is no user", user)
	}
	if group != "" && !ownerName.MatchString(group) {
		p.Errorf(e.value, e.field+".group", "write a group's name or number", "%q is no group", group)
	}
}
