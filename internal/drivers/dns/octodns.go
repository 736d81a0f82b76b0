package dns

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/plan"
)

// octoDefaultTTL is octoDNS' own default.
const octoDefaultTTL = 3600

// octoFile reads a zone in octoDNS' YAML form: names, each with one record set
// or a list of them.
type octoFile struct {
	zone    *zone
	diags   *plan.Diagnostics
	unknown map[string]string
	anchors map[string]ast.Node
	records int
}

func parseOctoDNS(z *zone, text string, unknown map[string]string, diags *plan.Diagnostics) error {
	if len(text) > 64<<20 {
		return fmt.Errorf("a YAML zone may have 64 MiB at most")
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return yamlError(err)
	}
	f := &octoFile{zone: z, diags: diags, unknown: unknown, anchors: map[string]ast.Node{}}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return nil
	case len(file.Docs) > 1:
		return fmt.Errorf("more than one YAML document")
	}
	ast.Walk(anchorFinder(f.anchors), file.Docs[0].Body)
	entries, ok := f.mapping(file.Docs[0].Body)
	if !ok {
		return fmt.Errorf("the file is not a mapping of names to records")
	}
	for _, e := range entries {
		f.name(e)
	}
	return nil
}

// anchorFinder collects anchors.
type anchorFinder map[string]ast.Node

// Visit takes a node in.
func (a anchorFinder) Visit(n ast.Node) ast.Visitor {
	if an, ok := n.(*ast.AnchorNode); ok {
		a[an.Name.String()] = an.Value
	}
	return a
}

// resolve follows one alias or anchor.
func (f *octoFile) resolve(n ast.Node) ast.Node {
	for range 8 {
		switch x := n.(type) {
		case *ast.AliasNode:
			n = f.anchors[x.Value.String()]
		case *ast.AnchorNode:
			n = x.Value
		default:
			return n
		}
	}
	return n
}

func (f *octoFile) mapping(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch x := f.resolve(n).(type) {
	case *ast.MappingNode:
		return x.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{x}, true
	}
	return nil, false
}

func (f *octoFile) at(n ast.Node) place {
	p := place{file: f.zone.file}
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		p.line = int32(n.GetToken().Position.Line)
	}
	return p
}

func (f *octoFile) name(e *ast.MappingValueNode) {
	key := scalar(e.Key)
	if key == "" {
		key = "@"
	}
	at := f.at(e.Key)
	name, err := canonicalName(key, f.zone.name)
	if err != nil {
		f.diags.Errorf(at.source(), "", "", "%v", err)
		return
	}
	if err := (&zoneFile{zone: f.zone}).dot(key); err != nil {
		f.diags.Errorf(at.source(), "", "names are relative to the zone here", "%q repeats the zone's name", key)
		return
	}
	sets := []ast.Node{e.Value}
	if seq, ok := f.resolve(e.Value).(*ast.SequenceNode); ok {
		sets = seq.Values
	}
	for _, n := range sets {
		if err := f.set(name, at, n); err != nil {
			f.diags.Errorf(f.at(n).source(), "", "", "%s: %v", name, err)
		}
	}
}

// octoSet is one record set as it stands in the file.
type octoSet struct {
	kind    string
	ttl     uint32
	values  []ast.Node
	ignored bool
}

func (f *octoFile) set(name string, at place, n ast.Node) error {
	fields, ok := f.mapping(n)
	if !ok {
		return fmt.Errorf("a record is a mapping with type and value")
	}
	if n.GetToken() != nil && len(fields) > 0 {
		at = f.at(fields[0].Key)
	}
	set := octoSet{ttl: octoDefaultTTL}
	for _, e := range fields {
		if err := f.field(&set, e); err != nil {
			return err
		}
	}
	if set.ignored {
		return nil
	}
	typ, err := octoType(set.kind)
	if err != nil {
		return err
	}
	if len(set.values) == 0 {
		return fmt.Errorf("%s has no value", set.kind)
	}
	for _, v := range set.values {
		rec := record{name: name, typ: typ, ttl: set.ttl, at: at}
		if v.GetToken() != nil && len(set.values) > 1 {
			rec.at = f.at(v)
		}
		if err := f.value(&rec, v); err != nil {
			f.diags.Errorf(rec.at.source(), "", "", "%s %s: %v", name, set.kind, err)
			continue
		}
		if f.records++; f.records > maxRecords {
			return fmt.Errorf("more than %d records", maxRecords)
		}
		f.zone.add(rec, f.diags)
	}
	return nil
}

func (f *octoFile) field(set *octoSet, e *ast.MappingValueNode) error {
	key := scalar(e.Key)
	switch key {
	case "type":
		set.kind = strings.ToUpper(scalar(f.resolve(e.Value)))
	case "ttl":
		n, ok := parseTTL(scalar(f.resolve(e.Value)))
		if !ok {
			return fmt.Errorf("ttl %q is not a number of seconds", scalar(f.resolve(e.Value)))
		}
		set.ttl = uint32(n)
	case "value", "values":
		set.values = []ast.Node{e.Value}
		if seq, ok := f.resolve(e.Value).(*ast.SequenceNode); ok {
			set.values = seq.Values
		}
	case "octodns":
		flags, _ := f.mapping(e.Value)
		for _, flag := range flags {
			if scalar(flag.Key) == "ignored" && scalar(f.resolve(flag.Value)) == "true" {
				set.ignored = true
			}
		}
	case "geo", "dynamic":
		return fmt.Errorf("%s records depend on who asks: no zone can hold them; remove %q", set.kind, key)
	case "lenient", "comment":
	default:
		return fmt.Errorf("unknown field %q: type, ttl, value, values and octodns are known", key)
	}
	return nil
}

func octoType(kind string) (uint16, error) {
	switch kind {
	case "":
		return 0, fmt.Errorf("the record has no type")
	case "ALIAS":
		return 0, fmt.Errorf("ALIAS is no record of the DNS: write the addresses, or a CNAME where the name is not the zone's own")
	case "URLFWD":
		return 0, fmt.Errorf("URLFWD is a web redirect of one provider, no record of the DNS")
	case "SOA":
		return 0, fmt.Errorf("octoDNS files hold no SOA")
	}
	if typ, ok := mdns.StringToType[kind]; ok && octoFields[kind] != nil {
		return typ, nil
	}
	return 0, fmt.Errorf("type %s is not known in octoDNS files", kind)
}
