package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// docName is the document in a target's directory.
const docName = "host.yaml"

// document is a parsed host.yaml: what it asks for on all hosts, and on those
// of some groups and by name.
type document struct {
	file   string
	layers []*layer
	values []string // names of target values that templates use
	// needsFacts tells that a template asks for facts.
	needsFacts bool
	// budget is how much content of the repository may still be kept in memory.
	budget atomic.Int64
}

// keptContent is how much content of the repository is kept in memory, so that
// it is read once for all hosts.
const keptContent = 64 << 20

// layer is one part of a document.
type layer struct {
	group, host string // at most one of them; neither is all hosts
	vars        map[string]any
	objects     []*object
	source      plan.Source
}

// parser reads a document.
type parser struct {
	*strict.Decoder
	in   driver.Input
	spec *Spec
	dir  string // where the document lies; sources start here
	sums map[string]sum
	doc  *document
}

type sum struct {
	size int64
	hex  string
	exec bool
}

// entry is one entry of a section.
type entry struct {
	section string
	name    string
	key     *strict.Node
	value   *strict.Node
	field   string
}

// Prepare reads the snapshot alone. Which hosts there are is not known here:
// objects are given for the hosts that are named, or for the host "*".
func (sshDriver) Prepare(ctx context.Context, in driver.Input) (*driver.Prepared, error) {
	p := &parser{in: in, spec: specOf(in), sums: map[string]sum{}, doc: &document{}}
	p.doc.budget.Store(keptContent)
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	prep := &driver.Prepared{State: p.doc, Diagnostics: p.Diags, Values: p.doc.values}
	for _, l := range p.doc.layers {
		hosts := scopeOf(in).Hosts
		if l.host != "" {
			hosts = []string{l.host}
		}
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		for _, o := range l.objects {
			for _, h := range hosts {
				prep.Desired = append(prep.Desired, driver.Desired{Key: plan.Key{Scope: plan.Scope(h), Address: o.Address}, Kind: o.Kind, Source: o.Source})
			}
		}
	}
	return prep, nil
}

func (p *parser) read(ctx context.Context) error {
	file := p.in.Path
	p.Decoder = strict.NewDecoder(file)
	info, err := fs.Stat(p.in.Tree, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Diags.Errorf(plan.Source{File: file}, "path", "name a directory with a host.yaml, or the document itself", "%s does not exist in the repository", file)
		return nil
	case err != nil:
		return err
	case info.IsDir():
		file = path.Join(file, docName)
	}
	p.doc.file, p.dir = file, path.Dir(file)
	p.Decoder = strict.NewDecoder(file)
	body, err := p.bytes(file, strict.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		p.Diags.Errorf(plan.Source{File: file}, "path", "write what the hosts should be into it", "%s does not exist in the repository", file)
		return nil
	}
	if err != nil {
		return err
	}
	root, diags := strict.Parse(file, body)
	p.Diags = append(p.Diags, diags...)
	if root == nil {
		if diags.Err() == nil {
			p.Diags.Errorf(plan.Source{File: file, Line: 1}, "", "", "it asks for nothing: an empty desired state never prunes")
		}
		return nil
	}
	p.layer(&layer{source: p.At(root)}, root, "")
	if err := ctx.Err(); err != nil {
		return err
	}
	n := 0
	for _, l := range p.doc.layers {
		n += len(l.objects)
	}
	if n == 0 && p.Diags.Err() == nil {
		p.Diags.Errorf(plan.Source{File: file, Line: 1}, "", "", "it asks for nothing: an empty desired state never prunes")
	}
	return nil
}

// layer reads the sections of one part.
func (p *parser) layer(l *layer, n *strict.Node, field string) {
	p.doc.layers = append(p.doc.layers, l)
	if n.ShortTag() == "!!null" {
		return
	}
	at := n
	if n = mapping(n); n == nil {
		p.Errorf(at, field, "", "expected a mapping of sections")
		return
	}
	top := l.group == "" && l.host == ""
	for _, pair := range p.Pairs(n, field) {
		name, sub := pair.Key.Value, strict.Join(field, pair.Key.Value)
		switch {
		case name == "vars":
			p.Decode(pair.Value, &l.vars, sub)
		case top && (name == "perGroup" || name == "perHost"):
			p.parts(name, pair.Value)
		default:
			p.section(l, name, pair, sub)
		}
	}
	seen := map[plan.Address]*object{}
	for _, o := range l.objects {
		if first := seen[o.Address]; first != nil {
			p.Diags.Errorf(o.Source, "", "remove one of the two", "%s is asked for twice; first in line %d", o.Address, first.Source.Line)
		}
		seen[o.Address] = o
	}
}

func (p *parser) parts(kind string, n *strict.Node) {
	at := n
	if n = mapping(n); n == nil {
		p.Errorf(at, kind, "", "expected names, each with its sections")
		return
	}
	for _, pair := range p.Pairs(n, kind) {
		l := &layer{source: p.At(pair.Key)}
		if kind == "perGroup" {
			l.group = pair.Key.Value
		} else {
			l.host = pair.Key.Value
		}
		p.layer(l, pair.Value, strict.Join(kind, pair.Key.Value))
	}
}

func (p *parser) section(l *layer, name string, pair strict.Pair, field string) {
	var k kind
	var known []string
	for _, c := range kinds() {
		known = append(known, c.info().sections...)
		if slices.Contains(c.info().sections, name) {
			k = c
		}
	}
	if k == nil {
		slices.Sort(known)
		p.Errorf(pair.Key, field, "write one of "+strings.Join(append(known, "vars", "perGroup", "perHost"), ", "), "there is no section %q", name)
		return
	}
	if pair.Value.ShortTag() == "!!null" {
		return
	}
	entries := mapping(pair.Value)
	if entries == nil {
		p.Errorf(pair.Value, field, "", "expected names, each with what it should be")
		return
	}
	for _, e := range p.Pairs(entries, field) {
		objects := k.parse(p, entry{section: name, name: e.Key.Value, key: e.Key, value: e.Value, field: strict.Join(field, e.Key.Value)})
		for _, o := range objects {
			if o.Source.File == "" {
				o.Source = p.At(e.Key)
			}
			p.inScope(o)
		}
		l.objects = append(l.objects, objects...)
	}
}

// inScope refuses what the target's own scope leaves out.
func (p *parser) inScope(o *object) {
	if !scopeOf(p.in).containsObject(o.Address, o.Kind) {
		p.Diags.Errorf(o.Source, "scope", "widen the target's scope, or remove it here", "%s lies outside the target's scope", o.Address)
	}
}

// bytes reads a file of the snapshot.
func (p *parser) bytes(name string, most int64) ([]byte, error) {
	f, err := p.in.Tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return b, err
}

// source gives the path of a file beside the document, which must be one.
func (p *parser) source(e entry, field, name string) (string, bool) {
	full := path.Join(p.dir, name)
	if path.IsAbs(name) || name == "" || !fs.ValidPath(full) {
		p.Errorf(e.value, e.field+"."+field, "name a file beside the document", "%q is no path inside the repository", name)
		return "", false
	}
	return full, true
}

// sum reads a file of the snapshot for its size and hash, once.
func (p *parser) sum(name string) (sum, error) {
	if s, ok := p.sums[name]; ok {
		return s, nil
	}
	f, err := p.in.Tree.Open(name)
	if err != nil {
		return sum{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sum{}, err
	}
	if !info.Mode().IsRegular() {
		return sum{}, fmt.Errorf("%s is no file", name)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return sum{}, err
	}
	s := sum{size: n, hex: hex.EncodeToString(h.Sum(nil)), exec: info.Mode()&0o111 != 0}
	p.sums[name] = s
	return s, nil
}

// forHost gives what the document asks for on one host: the part for all, then
// those for its groups, the outer before the inner, then its own. A later part
// takes the place of an earlier one; two groups side by side may not disagree.
func (d *document) forHost(h *inventory.Host, inv *inventory.Inventory) ([]*object, map[string]any, plan.Diagnostics) {
	type held struct {
		o     *object
		depth int
		group string
	}
	var diags plan.Diagnostics
	chosen := map[plan.Address]held{}
	vars := map[string]any{}
	for _, l := range d.ordered(h, inv) {
		depth := l.depth
		for k, v := range l.vars {
			vars[k] = v
		}
		for _, o := range l.objects {
			was, ok := chosen[o.Address]
			if ok && was.depth == depth && depth > 0 && !l.own {
				diags.Errorf(o.Source, "", "say it once, or in the host's own part", "%s is asked for by the group %s and, in line %d, by the group %s, and the host %s is in both",
					o.Address, l.group, was.o.Source.Line, was.group, h.Name)
				continue
			}
			chosen[o.Address] = held{o, depth, l.group}
		}
	}
	out := make([]*object, 0, len(chosen))
	for _, c := range chosen {
		out = append(out, c.o)
	}
	slices.SortFunc(out, func(a, b *object) int { return cmpAddress(a.Address, b.Address) })
	return out, vars, diags
}

type ranked struct {
	*layer
	depth int
	own   bool
}

func (d *document) ordered(h *inventory.Host, inv *inventory.Inventory) []ranked {
	var out []ranked
	for _, l := range d.layers {
		switch {
		case l.host != "":
			if l.host == h.Name {
				out = append(out, ranked{l, 1 << 30, true})
			}
		case l.group != "":
			if g := inv.Group(l.group); g != nil && h.In(l.group) {
				out = append(out, ranked{l, g.Depth, false})
			}
		default:
			out = append(out, ranked{l, -1, true})
		}
	}
	slices.SortStableFunc(out, func(a, b ranked) int { return a.depth - b.depth })
	return out
}

// unknownParts finds parts for groups and hosts that the inventory doesn't have.
func (d *document) unknownParts(inv *inventory.Inventory) plan.Diagnostics {
	var diags plan.Diagnostics
	for _, l := range d.layers {
		switch {
		case l.group != "" && inv.Group(l.group) == nil:
			diags.Warnf(l.source, "perGroup."+l.group, "", "the environment has no group %q", l.group)
		case l.host != "" && inv.Host(l.host) == nil:
			diags.Warnf(l.source, "perHost."+l.host, "", "the environment has no host %q", l.host)
		}
	}
	return diags
}

// mapping gives the mapping that a node is, or leads to.
func mapping(n *strict.Node) *strict.Node {
	for range 8 {
		if n == nil || n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	return n
}

var octal = regexp.MustCompile(`^0?[0-7]{1,4}$`)

// parseMode reads octal permission bits up to a limit.
func parseMode(s string, most uint32) (string, error) {
	if !octal.MatchString(s) {
		return "", fmt.Errorf("%q is not an octal mode", s)
	}
	var n uint32
	for _, c := range s {
		n = n<<3 | uint32(c-'0')
	}
	if n&^most != 0 {
		return "", fmt.Errorf("%q has bits that are not allowed here: at most %04o", s, most)
	}
	return fmt.Sprintf("%04o", n), nil
}
