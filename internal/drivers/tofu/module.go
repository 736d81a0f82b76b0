package tofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"trueup.dev/trueup/internal/plan"
)

// Bounds on what a repository may ask for.
const (
	maxConfigFile = 4 << 20
	maxModules    = 500
	maxFiles      = 5000
)

// module is what one directory of configuration says, as far as it can be told
// without evaluating it.
type module struct {
	dir       string
	resources map[string]plan.Source // managed, by type.name
	outputs   map[string]plan.Source
	variables map[string]bool // declared; true when sensitive
	calls     map[string]call
	backend   string // its type, "" without one
	// needs is what init depends on: providers, backends, module sources.
	needs []string
}

// call is a module block.
type call struct {
	source string
	at     plan.Source
}

// local tells whether the module is in the repository, and where.
func (c call) local(dir string) (string, bool) {
	if !strings.HasPrefix(c.source, "./") && !strings.HasPrefix(c.source, "../") {
		return "", false
	}
	return path.Join(dir, c.source), true
}

// isConfig tells whether the programs read a file as configuration. A .tofu
// file is OpenTofu's alone.
func isConfig(name string) bool {
	for _, ext := range []string{".tf", ".tofu", ".tf.json", ".tofu.json"} {
		if strings.HasSuffix(name, ext) && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, "~") {
			return true
		}
	}
	return false
}

// schema lists the blocks that are looked at; others are left alone.
var schema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "terraform"}, {Type: "module", LabelNames: []string{"name"}}, {Type: "resource", LabelNames: []string{"type", "name"}},
	{Type: "data", LabelNames: []string{"type", "name"}}, {Type: "output", LabelNames: []string{"name"}},
	{Type: "variable", LabelNames: []string{"name"}}, {Type: "provider", LabelNames: []string{"name"}},
}}

// readModule parses the configuration of one directory.
func readModule(tree fs.FS, dir string, d *plan.Diagnostics) (*module, error) {
	m := &module{dir: dir, resources: map[string]plan.Source{}, outputs: map[string]plan.Source{},
		variables: map[string]bool{}, calls: map[string]call{}}
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() || !isConfig(e.Name()) {
			continue
		}
		name := path.Join(dir, e.Name())
		body, err := readBounded(tree, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m.file(name, body, d)
	}
	slices.Sort(m.needs)
	m.needs = slices.Compact(m.needs)
	return m, nil
}

var errTooLarge = errors.New("the file is too large for configuration")

func readBounded(tree fs.FS, name string) ([]byte, error) {
	st, err := fs.Stat(tree, name)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxConfigFile {
		return nil, errTooLarge
	}
	return fs.ReadFile(tree, name)
}

// file adds one file. Mistakes in it are findings.
func (m *module) file(name string, body []byte, d *plan.Diagnostics) {
	var f *hcl.File
	var diags hcl.Diagnostics
	if strings.HasSuffix(name, ".json") {
		f, diags = hcljson.Parse(body, name)
	} else {
		f, diags = hclsyntax.ParseConfig(body, name, hcl.InitialPos)
	}
	note(d, name, diags)
	if f == nil || f.Body == nil || diags.HasErrors() {
		return
	}
	content, _, diags := f.Body.PartialContent(schema)
	note(d, name, diags)
	for _, b := range content.Blocks {
		m.block(name, body, b)
	}
}

func note(d *plan.Diagnostics, name string, diags hcl.Diagnostics) {
	for _, x := range diags {
		if x.Severity != hcl.DiagError {
			continue
		}
		at := plan.Source{File: name}
		if x.Subject != nil {
			at = source(name, *x.Subject)
		}
		text := x.Summary
		if x.Detail != "" {
			text += ": " + x.Detail
		}
		d.Errorf(at, "", "", "%s", text)
	}
}

func source(name string, r hcl.Range) plan.Source {
	return plan.Source{File: name, Line: r.Start.Line, Column: r.Start.Column}
}

func (m *module) block(name string, body []byte, b *hcl.Block) {
	at := source(name, b.DefRange)
	switch b.Type {
	case "terraform":
		m.needs = append(m.needs, "terraform "+text(body, b))
		m.settings(b)
	case "module":
		src := literal(b.Body, "source")
		m.calls[b.Labels[0]] = call{source: src, at: at}
		m.needs = append(m.needs, fmt.Sprintf("module %s %q %q", b.Labels[0], src, literal(b.Body, "version")))
	case "resource":
		m.resources[b.Labels[0]+"."+b.Labels[1]] = at
		m.needs = append(m.needs, "type "+providerOf(b.Labels[0]))
	case "data":
		m.needs = append(m.needs, "type "+providerOf(b.Labels[0]))
	case "provider":
		m.needs = append(m.needs, fmt.Sprintf("provider %s %q", b.Labels[0], literal(b.Body, "version")))
	case "output":
		m.outputs[b.Labels[0]] = at
	case "variable":
		m.variables[b.Labels[0]] = isTrue(b.Body, "sensitive")
	}
}

func providerOf(resource string) string {
	name, _, _ := strings.Cut(resource, "_")
	return name
}

// settings looks for a backend in a terraform block.
func (m *module) settings(b *hcl.Block) {
	content, _, _ := b.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}}})
	for _, x := range content.Blocks {
		if x.Type == "cloud" {
			m.backend = "cloud"
			continue
		}
		m.backend = x.Labels[0]
	}
}

// text is a block as it was written, so that any change in it is a change.
func text(body []byte, b *hcl.Block) string {
	if s, ok := b.Body.(*hclsyntax.Body); ok {
		return string(s.SrcRange.SliceBytes(body))
	}
	return string(body)
}

// literal gives an attribute that is a plain string; "" when it is none.
func literal(body hcl.Body, name string) string {
	v, ok := constant(body, name)
	if !ok || v.Type() != cty.String {
		return ""
	}
	return v.AsString()
}

func isTrue(body hcl.Body, name string) bool {
	v, ok := constant(body, name)
	return ok && v.Type() == cty.Bool && v.True()
}

func constant(body hcl.Body, name string) (cty.Value, bool) {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	attr := content.Attributes[name]
	if attr == nil {
		return cty.NilVal, false
	}
	var v cty.Value
	if diags := gohcl.DecodeExpression(attr.Expr, nil, &v); diags.HasErrors() || v.IsNull() || !v.IsKnown() {
		return cty.NilVal, false
	}
	return v, true
}

// root is a root module with the local modules that it uses.
type root struct {
	*module
	local   map[string]*module // by directory, without the root
	calls   []moduleCall
	missing []string // directories that could not be read
}

// moduleCall is one call in the tree of modules, with the address of its
// module: module.a.module.b.
type moduleCall struct {
	address string
	dir     string // "" when the module is not in the repository
	at      plan.Source
}

// readRoot parses a root module and follows its local modules. What can't be
// read is a finding; unreadable tells more.
func readRoot(tree fs.FS, dir string, d *plan.Diagnostics) (*root, error) {
	m, err := readModule(tree, dir, d)
	if err != nil {
		return nil, err
	}
	r := &root{module: m, local: map[string]*module{}}
	r.follow(tree, m, "", 0, d)
	return r, nil
}

func (r *root) follow(tree fs.FS, m *module, address string, depth int, d *plan.Diagnostics) {
	for _, name := range sortedKeys(m.calls) {
		c := m.calls[name]
		at := strings.TrimPrefix(address+".module."+name, ".")
		dir, ok := c.local(m.dir)
		if len(r.calls) >= maxModules || depth > 20 {
			d.Errorf(c.at, "", "use fewer modules", "the root module uses more than %d modules, or modules in a circle", maxModules)
			return
		}
		r.calls = append(r.calls, moduleCall{address: at, dir: dir, at: c.at})
		if !ok {
			continue
		}
		if dir == ".." || strings.HasPrefix(dir, "../") {
			d.Errorf(c.at, "source", "keep the module in the repository", "%q leads out of the repository", c.source)
			continue
		}
		sub := r.local[dir]
		if sub == nil && dir != r.dir {
			var err error
			if sub, err = readModule(tree, dir, d); err != nil {
				r.missing = append(r.missing, dir)
				d.Errorf(c.at, "source", "", "the module %q can't be read: %v", c.source, err)
				continue
			}
			r.local[dir] = sub
			r.needs = append(r.needs, sub.needs...)
		}
		if sub != nil {
			r.follow(tree, sub, at, depth+1, d)
		}
	}
}

// sourceOf finds the line that asks for a resource.
func (r *root) sourceOf(address string) plan.Source {
	m, rest, best := r.module, address, plan.Source{}
	if name, ok := strings.CutPrefix(address, "output."); ok {
		return r.outputs[name]
	}
	for strings.HasPrefix(rest, "module.") {
		name, after := cutAddress(strings.TrimPrefix(rest, "module."))
		c, ok := m.calls[name]
		if !ok {
			return best
		}
		best = c.at
		dir, local := c.local(m.dir)
		if m = r.local[dir]; !local || m == nil {
			return best
		}
		rest = after
	}
	base, _, _ := strings.Cut(rest, "[")
	if at, ok := m.resources[base]; ok {
		return at
	}
	return best
}

// cutAddress takes the first name off an address, with its index.
func cutAddress(s string) (name, rest string) {
	i := strings.IndexAny(s, ".[")
	if i < 0 {
		return s, ""
	}
	name = s[:i]
	if s[i] == '[' {
		if strings.HasPrefix(s[i:], `["`) {
			end := strings.Index(s[i:], `"]`)
			if end < 0 {
				return name, ""
			}
			return name, strings.TrimPrefix(s[i+end+2:], ".")
		}
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return name, ""
		}
		return name, strings.TrimPrefix(s[i+end+1:], ".")
	}
	return name, s[i+1:]
}

// needsDigest names what init depends on.
func (r *root) needsDigest() string {
	slices.Sort(r.needs)
	b, err := json.Marshal(slices.Compact(r.needs))
	if err != nil {
		return ""
	}
	return string(b)
}
