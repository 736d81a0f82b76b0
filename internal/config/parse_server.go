package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// LoadServer reads the operator's configuration from a file. The server is nil
// when there are errors among the findings.
func LoadServer(path string, drivers driver.Registry) (*Server, plan.Diagnostics) {
	body, err := readBounded(path)
	if err != nil {
		var diags plan.Diagnostics
		diags.Errorf(plan.Source{File: path}, "", "check the path and its permissions", "the configuration can't be read: %s", err)
		return nil, diags
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		dir = filepath.Dir(path)
	}
	return ParseServer(path, body, dir, drivers)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, strict.MaxBytes+1))
}

// ParseServer reads the operator's configuration from a text; name is for
// messages, dir is where relative paths start. The server is nil when there
// are errors among the findings.
func ParseServer(name string, body []byte, dir string, drivers driver.Registry) (*Server, plan.Diagnostics) {
	root, diags := strict.Parse(name, body)
	if diags.Err() != nil {
		return nil, diags
	}
	if root == nil {
		diags.Errorf(plan.Source{File: name}, "", "start it with version: 1", "the file is empty")
		return nil, diags
	}
	sum := sha256.Sum256(body)
	p := &serverParser{Decoder: strict.NewDecoder(name), root: root, drivers: drivers,
		s: &Server{Dir: dir, Digest: hex.EncodeToString(sum[:]), Body: body}}
	p.Decode(root, p.s, "")
	p.s.complete()
	p.connect()
	p.check()
	p.refs()
	if p.Diags.Err() != nil {
		return nil, ordered(p.Diags)
	}
	return p.s, ordered(p.Diags)
}

type serverParser struct {
	*strict.Decoder
	root    *strict.Node
	drivers driver.Registry
	s       *Server
}

// fail reports a mistake at a field of the file, or at the nearest one that is
// there.
func (p *serverParser) fail(field, mend, format string, args ...any) {
	field = strings.TrimPrefix(field, ".") // of a policy in a file of its own
	p.Errorf(strict.Locate(p.root, field), field, mend, format, args...)
}

// connect decodes the parts of the environments that belong to drivers.
func (p *serverParser) connect() {
	for _, name := range sorted(p.s.Environments) {
		env := p.s.Environments[name]
		base := "environments." + name
		env.Source = p.At(strict.Locate(p.root, base))
		d, ok := p.drivers[env.Driver]
		if !ok {
			if env.Driver != "" {
				p.fail(base+".driver", strict.Mend(env.Driver, p.drivers.Names()), "there is no driver %q", env.Driver)
			}
			continue
		}
		info := d.Info()
		node := p.Late[base+".connect"]
		if info.Connect != nil {
			env.Connect = info.Connect()
			p.part(node, env.Connect, base+".connect", base)
		} else if node != nil {
			p.Errorf(node, base+".connect", "remove it", "the driver %s has no connection settings", env.Driver)
		}
		env.ConnectDigest = p.digest(node, base+".connect")
		for i := range env.Allow {
			at := fmt.Sprintf("%s.allow[%d].scope", base, i)
			if info.Scope != nil {
				env.Allow[i].Scope = info.Scope()
				p.part(p.Late[at], env.Allow[i].Scope, at, at)
			} else if p.Late[at] != nil {
				p.Errorf(p.Late[at], at, "remove it", "the driver %s has no scopes", env.Driver)
			}
		}
	}
}

// part decodes a driver's part of the file and lets the driver check it.
// Values are kept out of messages: a secret may stand there by mistake.
func (p *serverParser) part(node *strict.Node, target any, field, base string) {
	before := p.Errors()
	p.Private = true
	if node == nil {
		node = strict.FromAny(map[string]any{})
		if at := strict.Locate(p.root, base); at != nil {
			node.Line, node.Column = at.Line, at.Column
		}
		if field == base { // an absent scope is the whole environment
			p.Private = false
			return
		}
	}
	p.Decode(node, target, field)
	p.Private = false
	if p.Errors() == before {
		validate(p.Decoder, node, target, field)
	}
}

// validate asks a driver's value what is wrong with it and puts the findings
// where they belong.
func validate(d *strict.Decoder, node *strict.Node, target any, field string) {
	v, ok := target.(driver.Validator)
	if !ok {
		return
	}
	for _, found := range v.Validate() {
		found.Source = d.At(strict.Locate(node, found.Field))
		switch {
		case found.Field == "":
			found.Field = field
		case found.Field[0] == '[':
			found.Field = field + found.Field
		default:
			found.Field = field + "." + found.Field
		}
		d.Add(found)
	}
}

// digest stands for a part as it was written; secrets are references there.
func (p *serverParser) digest(node *strict.Node, field string) string {
	var value any
	if node != nil {
		value = p.Any(node, field)
	}
	body, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// ordered sorts findings by their place and drops what is said twice.
func ordered(diags plan.Diagnostics) plan.Diagnostics {
	slices.SortStableFunc(diags, comparePlaces)
	return slices.Compact(diags)
}
