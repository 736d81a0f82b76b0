package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// desiredState is the parsed form of a target's files.
type desiredState struct {
	zones []*zone
	// fallback is the zone of the environment that was used in place of a
	// name guessed from the file.
	fallback string
	// guessed tells that the zone's name comes from a file's name alone.
	guessed bool
}

// prepare parses and checks a target's files. fallback is the environment's
// zone, where it is known; it is better than a name guessed from the file's.
func prepare(ctx context.Context, in driver.Input, fallback string) (*driver.Prepared, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	prep := &driver.Prepared{}
	files, err := zoneFiles(in)
	if err != nil {
		return nil, err
	}
	st := &desiredState{fallback: fallback}
	vals := newValues(in.Values)
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		z, err := parseZone(in, spec, file, len(files) > 1, st, vals, &prep.Diagnostics)
		if err != nil {
			at := plan.Source{File: file}
			if le := (*lineError)(nil); errors.As(err, &le) {
				at.Line = le.line
			}
			prep.Diagnostics.Errorf(at, "", "", "%v", err)
			continue
		}
		st.zones = append(st.zones, z)
	}
	prep.Values = vals.used()
	st.finish(in, spec, &prep.Diagnostics)
	prep.State = st
	return prep, nil
}

func specOf(in driver.Input) (*Spec, error) {
	if in.Spec == nil {
		return &Spec{}, nil
	}
	s, ok := in.Spec.(*Spec)
	if !ok {
		return nil, driver.Permanent(errors.New("spec is not that of the dns driver"))
	}
	return s, nil
}

// zoneFiles gives the target's file, or the zone files of its directory.
func zoneFiles(in driver.Input) ([]string, error) {
	if in.Tree == nil {
		return nil, driver.Permanent(errors.New("there is no snapshot to read"))
	}
	info, err := fs.Stat(in.Tree, in.Path)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("path: %w", err))
	}
	if !info.IsDir() {
		return []string{in.Path}, nil
	}
	entries, err := fs.ReadDir(in.Tree, in.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	var out []string
	for _, e := range entries {
		ext := strings.ToLower(path.Ext(e.Name()))
		if !e.IsDir() && slices.Contains([]string{".zone", ".yaml", ".yml"}, ext) && !strings.HasPrefix(e.Name(), "trueup.") {
			out = append(out, path.Join(in.Path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, driver.Permanent(fmt.Errorf("path %s: no zone files in it: they end in .zone, .yaml or .yml", in.Path))
	}
	return out, nil
}

func parseZone(in driver.Input, spec *Spec, file string, many bool, st *desiredState, vals *values, diags *plan.Diagnostics) (*zone, error) {
	text, err := readText(in.Tree, file, vals)
	if err != nil {
		return nil, err
	}
	format := spec.format(file)
	name, err := zoneName(spec, file, format, text, many, st)
	if err != nil {
		return nil, err
	}
	z := newZone(name, spec.View, file, strings.Count(text, "\n"))
	if format == "octodns" {
		return z, parseOctoDNS(z, text, vals.markers(), diags)
	}
	f := &zoneFile{zone: z, diags: diags, unknown: vals.markers(), read: func(n string) (string, error) {
		if n == file {
			return text, nil
		}
		return readText(in.Tree, n, vals)
	}}
	return z, f.parse(file)
}

// zoneName finds a file's zone: the spec's; for a zone file the absolute
// $ORIGIN above its first record; the environment's; the file's name.
func zoneName(spec *Spec, file, format, text string, many bool, st *desiredState) (string, error) {
	if spec.Zone != "" && !many {
		return canonicalName(spec.Zone, ".")
	}
	if spec.Zone != "" {
		return "", errors.New("spec.zone names one zone, and the path has several files")
	}
	if format == "zonefile" {
		if origin := firstOrigin(text); origin != "" {
			return canonicalName(origin, ".")
		}
	}
	if st.fallback != "" && !many {
		return st.fallback, nil
	}
	st.guessed = true
	base := strings.TrimPrefix(path.Base(file), "db.")
	for _, ext := range []string{".zone", ".yaml", ".yml", ".db", ".txt"} {
		base = strings.TrimSuffix(base, ext)
	}
	name, err := canonicalName(strings.TrimSuffix(base, "."), ".")
	if err != nil {
		return "", fmt.Errorf("the zone's name can't be told from the file's: set spec.zone: %w", err)
	}
	return name, nil
}

func firstOrigin(text string) string {
	lex := newLexer(text)
	for {
		e, ok, err := lex.next()
		if !ok || err != nil {
			return ""
		}
		switch word := strings.ToUpper(e.tokens[0].text); {
		case word == "$ORIGIN" && len(e.tokens) == 2 && strings.HasSuffix(e.tokens[1].text, ".") && !e.blank:
			return e.tokens[1].text
		case word != "$TTL":
			return ""
		}
	}
}

// readText reads a file of the snapshot and fills in values.
func readText(tree fs.FS, name string, vals *values) (string, error) {
	f, err := tree.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	if info, err := f.Stat(); err == nil && info.Size() < maxFile {
		b.Grow(int(info.Size()))
	}
	n, err := io.Copy(&b, io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if n > maxFile {
		return "", fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return vals.fill(name, b.String())
}

func (st *desiredState) desired() []driver.Desired {
	n := 0
	for _, z := range st.zones {
		n += len(z.sets)
	}
	out := make([]driver.Desired, 0, n)
	for _, z := range st.zones {
		scope := z.scope()
		for i := range z.sets {
			s := &z.sets[i]
			if s.skip {
				continue
			}
			out = append(out, driver.Desired{Key: plan.Key{Scope: scope, Address: s.address()}, Kind: kindSet, Source: s.at[0].source()})
		}
	}
	return out
}
