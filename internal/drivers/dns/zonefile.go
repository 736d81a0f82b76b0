package dns

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/plan"
)

// Limits on what one target's zone files may hold.
const (
	maxFile     = 256 << 20
	maxDepth    = 16
	maxIncludes = 1000
	maxMistakes = 1000
	maxGenerate = 65536
	maxRecords  = 5_000_000
)

// zoneFile reads master files (RFC 1035 section 5, RFC 2308 section 4 for $TTL).
type zoneFile struct {
	read     func(name string) (string, error) // a file's text, values filled in
	zone     *zone
	diags    *plan.Diagnostics
	unknown  map[string]string // marker in the text -> name of the value
	records  int
	includes int
	buf      []byte
}

// state is what one record hands on to the next.
type state struct {
	origin string
	owner  string
	// ownerText is how the owner was written, under the same origin.
	ownerText string
	ttl       int64 // $TTL, -1 for none
	last      int64 // the last TTL that was written out, -1 for none
	file      string
	depth     int
	// parent is of the including file.
	parent *state
}

// parse reads a file and all that it includes.
func (f *zoneFile) parse(name string) error {
	st := state{origin: f.zone.name, owner: "", ttl: -1, last: -1, file: name}
	return f.file(&st)
}

func (f *zoneFile) file(st *state) error {
	text, err := f.read(st.file)
	if err != nil {
		return err
	}
	lex := newLexer(text)
	for {
		e, ok, err := lex.next()
		if !ok {
			return nil
		}
		if err == nil {
			err = f.entry(st, e)
		}
		if err != nil {
			f.diags.Errorf(plan.Source{File: st.file, Line: e.line}, "", "", "%v", err)
		}
		if len(*f.diags) > maxMistakes {
			return fmt.Errorf("too many mistakes: the rest was not read")
		}
		if f.records > maxRecords {
			return fmt.Errorf("%s: more than %d records", st.file, maxRecords)
		}
	}
}

func (f *zoneFile) entry(st *state, e entry) error {
	if !e.blank && e.tokens[0].text[0] == '$' {
		return f.directive(st, e)
	}
	tokens := e.tokens
	if !e.blank {
		if text := tokens[0].text; text != st.ownerText || text == "" {
			owner, err := f.name(text, st.origin)
			if err != nil {
				st.owner, st.ownerText = "", ""
				return err
			}
			st.owner, st.ownerText = owner, text
		}
		tokens = tokens[1:]
	}
	if st.owner == "" {
		return fmt.Errorf("the record has no name, and there is none before it to take over")
	}
	return f.record(st, e.line, st.owner, tokens)
}

// name completes a name and refuses the most common slip: a full name without
// the dot at its end.
func (f *zoneFile) name(text, origin string) (string, error) {
	name, err := canonicalName(text, origin)
	if err != nil {
		return "", err
	}
	return name, f.dot(text)
}

func (f *zoneFile) dot(text string) error {
	zone := strings.TrimSuffix(f.zone.name, ".")
	n := len(text) - len(zone)
	if n < 0 || zone == "" || !strings.EqualFold(text[n:], zone) || n > 0 && text[n-1] != '.' {
		return nil
	}
	return fmt.Errorf("%q has no dot at its end, so it would be %s.%s: write %q", text, text, f.zone.name, text+".")
}

// record reads [TTL] [class] type data, in either order of the first two.
func (f *zoneFile) record(st *state, line int, owner string, tokens []token) error {
	rec := record{name: owner, at: place{st.file, int32(line)}}
	ttl := int64(-1)
	var ok bool
	for len(tokens) > 0 {
		word := tokens[0].text
		if rec.typ, ok = typeCode(word); ok {
			break
		}
		if n, isTTL := parseTTL(word); isTTL && ttl < 0 {
			ttl = n
		} else if !strings.EqualFold(word, "IN") {
			if _, class := mdns.StringToClass[strings.ToUpper(word)]; class {
				return fmt.Errorf("class %s: only IN is managed", word)
			}
			return fmt.Errorf("%q is not a record type, a TTL or a class", word)
		}
		tokens = tokens[1:]
	}
	if !ok {
		return fmt.Errorf("the record of %s has no type", owner)
	}
	tokens = tokens[1:]
	if err := f.data(&rec, tokens, st.origin); err != nil {
		return fmt.Errorf("%s %s: %w", owner, typeName(rec.typ), err)
	}
	switch {
	case ttl >= 0:
		st.last = ttl
	case st.ttl >= 0:
		ttl = st.ttl
	case st.last >= 0:
		ttl = st.last
	case rec.typ == mdns.TypeSOA:
		ttl = soaMinimum(rec.data)
		st.last = ttl
	default:
		return fmt.Errorf("%s %s has no TTL: write one, or $TTL at the top of the file", owner, typeName(rec.typ))
	}
	rec.ttl = uint32(ttl)
	f.records++
	f.zone.add(rec, f.diags)
	return nil
}

func (f *zoneFile) directive(st *state, e entry) error {
	word, args := strings.ToUpper(e.tokens[0].text), e.tokens[1:]
	switch word {
	case "$ORIGIN":
		if len(args) != 1 {
			return fmt.Errorf("$ORIGIN takes one name")
		}
		origin, err := f.name(args[0].text, st.origin)
		if err == nil {
			st.origin, st.ownerText = origin, ""
		}
		return err
	case "$TTL":
		if len(args) != 1 {
			return fmt.Errorf("$TTL takes one number")
		}
		n, ok := parseTTL(args[0].text)
		if !ok {
			return fmt.Errorf("%q is not a TTL", args[0].text)
		}
		st.ttl = n
		return nil
	case "$INCLUDE":
		return f.include(st, args)
	case "$GENERATE":
		return f.generate(st, e.line, args)
	}
	return fmt.Errorf("unknown directive %s: $ORIGIN, $TTL, $INCLUDE and $GENERATE are known", word)
}

// include reads another file of the snapshot; a relative path starts at the
// including file's directory. The origin and owner behind it are those from
// before it (RFC 1035 section 5.1).
func (f *zoneFile) include(st *state, args []token) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("$INCLUDE takes a file and maybe an origin")
	}
	if st.depth >= maxDepth {
		return fmt.Errorf("$INCLUDE is nested more than %d deep", maxDepth)
	}
	if f.includes++; f.includes > maxIncludes {
		return fmt.Errorf("more than %d times $INCLUDE", maxIncludes)
	}
	name := strings.Trim(args[0].text, `"`)
	if path.IsAbs(name) {
		return fmt.Errorf("$INCLUDE %s: an absolute path leaves the repository; give it relative to this file", name)
	}
	if name = path.Join(path.Dir(st.file), name); !fs.ValidPath(name) {
		return fmt.Errorf("$INCLUDE %s: the path leaves the repository", args[0].text)
	}
	for up := st; up != nil; up = up.parent {
		if up.file == name {
			return fmt.Errorf("$INCLUDE %s: the file includes itself", name)
		}
	}
	sub := *st
	sub.parent = st
	sub.file, sub.depth = name, st.depth+1
	if len(args) == 2 {
		origin, err := f.name(args[1].text, st.origin)
		if err != nil {
			return err
		}
		sub.origin, sub.ownerText = origin, ""
	}
	if err := f.file(&sub); err != nil {
		return fmt.Errorf("$INCLUDE %s: %w", name, err)
	}
	return nil
}

// parseTTL reads seconds, or BIND's 1w2d3h4m5s.
func parseTTL(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int64(n), true
	}
	var sum, n int64
	digits := false
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			n, digits = n*10+int64(c-'0'), true
			if n > 1<<31 {
				return 0, false
			}
			continue
		}
		unit, ok := map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[lower(c)]
		if !ok || !digits {
			return 0, false
		}
		sum += n * unit
		n, digits = 0, false
	}
	sum += n
	return sum, sum < 1<<31
}

// soaMinimum is the last field of a SOA's data.
func soaMinimum(data string) int64 {
	if len(data) < 4 {
		return 0
	}
	d := data[len(data)-4:]
	return int64(d[0])<<24 | int64(d[1])<<16 | int64(d[2])<<8 | int64(d[3])
}
