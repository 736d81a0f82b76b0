package ssh

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/client/inventory"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// importer is a kind that can write live state as desired state.
type importer interface {
	// everything gives a state in which nothing is left open, so that observe
	// tells all there is about an object.
	everything(name string) state
	// entry gives what stands in host.yaml for an object that was observed: its
	// section, its name there and its fields.
	entry(im *importing, o *object) (section, name string, fields map[string]any)
}

// importing is one import.
type importing struct {
	host     *host
	files    map[string][]byte // beside the document
	contents map[string][]byte // of files on the host
	warnings plan.Diagnostics
}

// Bounds of one import.
const (
	maxImported      = 5000
	maxImportedBytes = 64 << 20
	importBatch      = 8 << 20
)

// Import writes what is asked for as a host.yaml with its files. What is a
// host's name, paths (globs allowed) and objects as kind:name, such as
// user:deploy or unit:nginx.service.
func (s *session) Import(ctx context.Context, in driver.Input, what []string) (driver.Imported, error) {
	inv, err := s.refresh()
	if err != nil {
		return driver.Imported{}, err
	}
	ih, what, err := importHost(inv, what)
	if err != nil {
		return driver.Imported{}, driver.Permanent(err)
	}
	t, err := s.transport(ih)
	if err != nil {
		return driver.Imported{}, err
	}
	im := &importing{host: &host{Host: ih, t: t, in: in, spec: &Spec{}}, files: map[string][]byte{}, contents: map[string][]byte{}}
	subs, err := im.subjects(ctx, what)
	if err != nil {
		return driver.Imported{}, err
	}
	found, err := im.host.observe(ctx, subs, false)
	if err != nil {
		return driver.Imported{}, fmt.Errorf("host %s: %w", ih.Name, err)
	}
	if err := im.read(ctx, found); err != nil {
		return driver.Imported{}, fmt.Errorf("host %s: %w", ih.Name, err)
	}
	doc := map[string]map[string]any{}
	for _, o := range found {
		k, ok := kindOf(o.Kind).(importer)
		if !ok {
			continue
		}
		section, name, fields := k.entry(im, o)
		if section == "" {
			continue
		}
		if doc[section] == nil {
			doc[section] = map[string]any{}
		}
		doc[section][name] = fields
	}
	im.missing(subs, found)
	if len(doc) == 0 {
		return driver.Imported{}, driver.Permanent(fmt.Errorf("host %s: none of it is there", ih.Name))
	}
	body, err := yaml.Marshal(doc)
	if err != nil {
		return driver.Imported{}, err
	}
	files := map[string][]byte{path.Join(in.Path, docName): body}
	for name, b := range im.files {
		files[path.Join(in.Path, name)] = b
	}
	return driver.Imported{Files: files, Warnings: im.warnings}, nil
}

// importHost finds the host that is meant.
func importHost(inv *inventory.Inventory, what []string) (*inventory.Host, []string, error) {
	var h *inventory.Host
	var rest []string
	for _, w := range what {
		if strings.Contains(w, ":") || strings.HasPrefix(w, "/") {
			rest = append(rest, w)
			continue
		}
		if h != nil {
			return nil, nil, fmt.Errorf("%s and %s: import one host at a time", h.Name, w)
		}
		if h = inv.Host(w); h == nil {
			return nil, nil, fmt.Errorf("there is no host %q; write a host's name, paths, or objects such as user:deploy", w)
		}
	}
	if h == nil && len(inv.Hosts) == 1 {
		h = inv.Hosts[0]
	}
	switch {
	case h == nil:
		return nil, nil, errors.New("name the host to import from")
	case len(rest) == 0:
		return nil, nil, fmt.Errorf("say what to import from %s: paths such as /etc/nginx/** and objects such as user:deploy (%s)", h.Name, strings.Join(importable(), ", "))
	}
	return h, rest, nil
}

// importable lists the kinds that can be imported by name.
func importable() []string {
	var out []string
	for _, n := range kindNames() {
		if k, ok := kindOf(n).(importer); ok && k.everything(n) != nil && n != kindFile && n != kindDir && n != kindSymlink && n != kindOther {
			out = append(out, n+":")
		}
	}
	return out
}

// subjects finds what is meant. Directories are looked through on the host.
func (im *importing) subjects(ctx context.Context, what []string) ([]subject, error) {
	var out []subject
	var paths []string
	for _, w := range what {
		if strings.HasPrefix(w, "/") {
			paths = append(paths, w)
			continue
		}
		kind, name, _ := strings.Cut(w, ":")
		k, ok := kindOf(kind).(importer)
		if !ok || name == "" || k.everything(kind) == nil {
			return nil, driver.Permanent(fmt.Errorf("%q can't be imported; there are paths, and %s", w, strings.Join(importable(), ", ")))
		}
		out = append(out, subject{address: plan.Address(w), kind: kind, was: k.everything(kind)})
	}
	names, err := im.walk(ctx, paths)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		out = append(out, subject{address: plan.Address(n), kind: kindFile, was: pathKind{}.everything(kindFile)})
	}
	slices.SortFunc(out, func(a, b subject) int { return cmpAddress(a.address, b.address) })
	return slices.CompactFunc(out, func(a, b subject) bool { return a.address == b.address }), nil
}

// walk lists the paths that globs and directories stand for.
func (im *importing) walk(ctx context.Context, globs []string) ([]string, error) {
	if len(globs) == 0 {
		return nil, nil
	}
	p := newProbe()
	var roots []string
	for _, g := range globs {
		root, _ := doublestar.SplitPattern(strings.TrimSuffix(g, "/"))
		if !strings.ContainsAny(g, `*?[{\`) {
			root = path.Clean(g)
		}
		roots = append(roots, root)
	}
	p.part("walk", fmt.Sprintf("C=0\nfor d in %s; do walk \"$d\"; done; echo -", quoteAll(roots)))
	a, err := p.run(ctx, im.host.t)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", im.host.Name, err)
	}
	names, err := framed(a.part("walk"))
	if err != nil {
		return nil, err
	}
	if len(names) >= maxImported {
		return nil, driver.Permanent(fmt.Errorf("more than %d paths: import parts by naming more of the path", maxImported))
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return strings.Contains(n, "/"+stagePrefix) || !slices.ContainsFunc(globs, func(g string) bool {
			g = strings.TrimSuffix(g, "/")
			ok, err := doublestar.Match(g, n)
			return n == g || err == nil && ok || !strings.ContainsAny(g, `*?[{\`) && strings.HasPrefix(n, g+"/")
		})
	}), nil
}

// read fetches the content of the files that were found.
func (im *importing) read(ctx context.Context, found []*object) error {
	var names []string
	var size, total int64
	flush := func() error {
		got, err := readContents(ctx, im.host.t, names)
		for n, b := range got {
			im.contents[n] = b
		}
		names, size = nil, 0
		return err
	}
	for _, o := range found {
		st, ok := o.State.(*pathState)
		if !ok || st.Type != kindFile || st.Size > maxHostFile {
			continue
		}
		if total += st.Size; total > maxImportedBytes {
			return driver.Permanent(fmt.Errorf("more than %d bytes: import parts by naming more of the path", maxImportedBytes))
		}
		names = append(names, string(o.Address))
		if size += st.Size; size > importBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return flush()
}

func (im *importing) warn(a plan.Address, format string, args ...any) {
	im.warnings.Warnf(plan.Source{File: docName}, string(a), "", format, args...)
}

// missing warns of what was asked for by name and is not there.
func (im *importing) missing(subs []subject, found []*object) {
	there := map[plan.Address]bool{}
	for _, o := range found {
		there[o.Address] = true
	}
	for _, s := range subs {
		if !there[s.address] {
			im.warn(s.address, "it is not there")
		}
	}
}

// everything compares owners too.
func (pathKind) everything(string) state { return &pathState{Owner: "x", Group: "x"} }

// entry gives a file with its content beside the document, a directory or a
// link.
func (pathKind) entry(im *importing, o *object) (string, string, map[string]any) {
	st := o.State.(*pathState)
	name := string(o.Address)
	fields := map[string]any{"owner": st.Owner, "group": st.Group}
	switch st.Type {
	case kindSymlink:
		return "symlinks", name, map[string]any{"to": st.To}
	case kindDir:
		fields["mode"] = st.Mode
		return "directories", name, fields
	case kindFile:
		body, ok := im.contents[name]
		switch {
		case !ok && st.Size > maxHostFile:
			im.warn(o.Address, "it has %d bytes and is left out: more than %d", st.Size, maxHostFile)
			return "", "", nil
		case !ok:
			im.warn(o.Address, "it can't be read and is left out")
			return "", "", nil
		}
		beside := "files" + name
		if odd(name) || strings.Contains(name, "..") {
			im.warn(o.Address, "its name can't stand in a repository; it is left out")
			return "", "", nil
		}
		if !strings.HasSuffix(st.Mode, "4") && !strings.HasSuffix(st.Mode, "5") {
			im.warn(o.Address, "not everybody may read it on the host: look whether it holds a secret before you commit it")
			fields["sensitive"] = true
		}
		im.files[beside] = body
		fields["source"], fields["mode"] = beside, st.Mode
		return "files", name, fields
	}
	im.warn(o.Address, "it is a device, socket or pipe and is left out")
	return "", "", nil
}

func (groupKind) everything(string) state { return &groupState{GID: "x"} }

func (groupKind) entry(_ *importing, o *object) (string, string, map[string]any) {
	return "groups", nameOf(o.Address), map[string]any{"gid": number(o.State.(*groupState).GID)}
}

func (userKind) everything(string) state {
	return &userState{UID: "x", Group: "x", Home: "x", Shell: "x", Comment: "x", Groups: []string{}}
}

func (userKind) entry(_ *importing, o *object) (string, string, map[string]any) {
	st := o.State.(*userState)
	fields := map[string]any{"uid": number(st.UID), "group": st.Group, "groups": st.Groups, "home": st.Home, "shell": st.Shell}
	if st.Comment != "" {
		fields["comment"] = st.Comment
	}
	if st.Disabled {
		fields["disabled"] = true
	}
	return "users", nameOf(o.Address), fields
}

func (keysKind) everything(kind string) state {
	if kind == kindKey {
		return nil
	}
	return &keysState{}
}

func (keysKind) entry(im *importing, o *object) (string, string, map[string]any) {
	st := o.State.(*keysState)
	if st.Broken != "" || len(st.Keys) == 0 {
		im.warn(o.Address, "there is no key to import: %s", orElse(st.Broken, "the file holds none"))
		return "", "", nil
	}
	var lines []string
	for _, l := range st.file.lines {
		if _, err := canonicalKey(l); err == nil {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	return "authorizedKeys", nameOf(o.Address), map[string]any{"keys": lines}
}

// number gives a number as such, and anything else as it is.
func number(s string) any {
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil {
		return s
	}
	return n
}
