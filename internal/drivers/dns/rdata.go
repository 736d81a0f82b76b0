package dns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"
)

// data reads a record's data. The types that make up nearly all of a large
// zone are read here, the others by miekg/dns.
func (f *zoneFile) data(rec *record, tokens []token, origin string) error {
	for _, t := range tokens {
		for marker, name := range f.unknown {
			if strings.Contains(t.text, marker) {
				rec.unknown = append(rec.unknown, name)
			}
		}
	}
	if len(rec.unknown) > 0 {
		return nil
	}
	if len(tokens) == 0 {
		return fmt.Errorf("the record has no data")
	}
	var ok bool
	var err error
	if f.buf, ok, err = appendCommon(f.buf[:0], rec.typ, tokens, origin); err != nil {
		return err
	} else if ok {
		rec.data = string(f.buf)
		return f.targetDots(rec.typ, tokens)
	}
	var words strings.Builder
	for _, t := range tokens {
		if !t.glued {
			words.WriteByte(' ')
		}
		words.WriteString(t.text)
	}
	rec.data, err = parseOther(rec.typ, words.String(), origin)
	if err == nil {
		err = f.resolvedDots(rec)
	}
	return err
}

// targetField is which field of the common types is a name.
var targetField = map[uint16]int{mdns.TypeCNAME: 0, mdns.TypeNS: 0, mdns.TypePTR: 0, mdns.TypeDNAME: 0, mdns.TypeMX: 1, mdns.TypeSRV: 3}

func (f *zoneFile) targetDots(typ uint16, tokens []token) error {
	i, ok := targetField[typ]
	if !ok || i >= len(tokens) {
		return nil
	}
	return f.dot(tokens[i].text)
}

// resolvedDots looks for zone.zone in the names that another parser completed.
func (f *zoneFile) resolvedDots(rec *record) error {
	for _, name := range targets(rec.typ, rec.data) {
		if f.zone.name != "." && inZone(name, f.zone.name+f.zone.name) {
			return fmt.Errorf("%s looks like a full name without the dot at its end", name)
		}
	}
	return nil
}

// appendCommon appends the data of a common type; ok is false for the others,
// and for the generic form of RFC 3597.
func appendCommon(buf []byte, typ uint16, tokens []token, origin string) ([]byte, bool, error) {
	want := 1
	switch typ {
	case mdns.TypeA, mdns.TypeAAAA:
		if tokens[0].text == `\#` {
			return buf, false, nil
		}
		out, err := appendAddr(buf, typ, tokens)
		return out, true, err
	case mdns.TypeCNAME, mdns.TypeNS, mdns.TypePTR, mdns.TypeDNAME:
	case mdns.TypeMX:
		want = 2
	case mdns.TypeSRV:
		want = 4
	case mdns.TypeTXT:
		out, ok := appendText(buf, tokens)
		return out, ok, nil
	default:
		return buf, false, nil
	}
	if tokens[0].text == `\#` {
		return buf, false, nil
	}
	if len(tokens) != want {
		return buf, true, fmt.Errorf("%d fields where %d belong", len(tokens), want)
	}
	for _, t := range tokens[:want-1] {
		n, err := strconv.ParseUint(t.text, 10, 16)
		if err != nil {
			return buf, true, fmt.Errorf("%q is not a number from 0 to 65535", t.text)
		}
		buf = append(buf, byte(n>>8), byte(n))
	}
	out, err := appendName(buf, tokens[want-1].text, origin)
	return out, true, err
}

// appendText appends character-strings that need no unescaping.
func appendText(buf []byte, tokens []token) ([]byte, bool) {
	for _, t := range tokens {
		text := t.text
		if n := len(text); n >= 2 && text[0] == '"' {
			text = text[1 : n-1]
		}
		if len(text) > 255 || strings.IndexByte(text, '\\') >= 0 {
			return buf, false
		}
		buf = append(append(buf, byte(len(text))), text...)
	}
	return buf, true
}

func appendAddr(buf []byte, typ uint16, tokens []token) ([]byte, error) {
	if len(tokens) != 1 {
		return buf, fmt.Errorf("%d fields where 1 belongs", len(tokens))
	}
	addr, err := netip.ParseAddr(tokens[0].text)
	switch {
	case err != nil || addr.Zone() != "":
		return buf, fmt.Errorf("%q is not an IP address", tokens[0].text)
	case typ == mdns.TypeA && !addr.Is4():
		return buf, fmt.Errorf("%s is not an IPv4 address", addr)
	case typ == mdns.TypeAAAA && addr.Is4():
		return buf, fmt.Errorf("%s is not an IPv6 address", addr)
	}
	return append(buf, addr.AsSlice()...), nil
}

// targets gives the names in a record's data.
func targets(typ uint16, data string) []string {
	layout, ok := layouts[typ]
	if !ok {
		return nil
	}
	var out []string
	msg, off := []byte(data), 0
	for i := range len(layout) {
		switch layout[i] {
		case 'n':
			name, next, err := readName(nil, msg, off)
			if err != nil {
				return out
			}
			out = append(out, string(name))
			off = next
		case 'h':
			off += 2
		case 'w':
			off += 4
		case 's':
			if off >= len(msg) {
				return out
			}
			off += 1 + int(msg[off])
		}
	}
	return out
}
