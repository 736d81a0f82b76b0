package dns

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/plan"
)

var (
	errShort   = errors.New("message ends in the middle of a record")
	errMessage = errors.New("malformed message")
)

// RRset is all records of one name and type. Data holds the records' canonical
// wire form (RFC 4034 section 6.2), sorted, so that equal sets are equal bytes.
type RRset struct {
	Name string // canonical
	Type uint16
	TTL  uint32
	Data []string
	// Unknown are the values that the set waits for; it has no Data then.
	Unknown []string
	// Serial is the serial of an observed SOA, which Data has as zero.
	Serial uint32
	// Disabled are records that the server keeps but does not serve (PowerDNS).
	Disabled []string
}

// layouts says where names stand in the data of the types whose names may be
// compressed or are lower-cased in the canonical form: n name, h two bytes,
// w four bytes, s character-string. Every other type is taken as it is.
var layouts = map[uint16]string{
	mdns.TypeNS: "n", mdns.TypeMD: "n", mdns.TypeMF: "n", mdns.TypeCNAME: "n", mdns.TypeSOA: "nnwwwww",
	mdns.TypeMB: "n", mdns.TypeMG: "n", mdns.TypeMR: "n", mdns.TypePTR: "n", mdns.TypeMINFO: "nn",
	mdns.TypeMX: "hn", mdns.TypeRP: "nn", mdns.TypeAFSDB: "hn", mdns.TypeRT: "hn", mdns.TypePX: "hnn",
	mdns.TypeNAPTR: "hhsssn", mdns.TypeKX: "hn", mdns.TypeSRV: "hhhn", mdns.TypeDNAME: "n",
}

// appendRdata appends the canonical form of the n bytes of data at off.
func appendRdata(dst, msg []byte, off, n int, typ uint16) ([]byte, error) {
	end := off + n
	if end > len(msg) {
		return dst, errShort
	}
	layout, ok := layouts[typ]
	if !ok {
		return append(dst, msg[off:end]...), nil
	}
	msg = msg[:end]
	var err error
	for i := range len(layout) {
		size := 0
		switch layout[i] {
		case 'n':
			if dst, off, err = expandName(dst, msg, off); err != nil {
				return dst, err
			}
			continue
		case 'h':
			size = 2
		case 'w':
			size = 4
		case 's':
			if off >= end {
				return dst, errShort
			}
			size = 1 + int(msg[off])
		}
		if off+size > end {
			return dst, errShort
		}
		dst = append(dst, msg[off:off+size]...)
		off += size
	}
	if off != end {
		return dst, errMessage
	}
	return dst, nil
}

// rdataOf gives the canonical data of a parsed record.
func rdataOf(rr mdns.RR) (string, error) {
	buf := make([]byte, mdns.Len(rr)+16)
	rr.Header().Name = "."
	end, err := mdns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return "", err
	}
	out, err := appendRdata(nil, buf[:end], 11, end-11, rr.Header().Rrtype)
	return string(out), err
}

// sort brings the data into canonical order.
func (r *RRset) sort() { slices.Sort(r.Data) }

// hash stands for type, TTL and data.
func (r *RRset) hash() string {
	if len(r.Unknown) > 0 {
		return "unknown:" + strings.Join(r.Unknown, ",")
	}
	var room [512]byte
	b := binary.BigEndian.AppendUint16(room[:0], r.Type)
	b = binary.BigEndian.AppendUint32(b, r.TTL)
	for _, d := range r.Data {
		b = binary.BigEndian.AppendUint16(b, uint16(len(d)))
		b = append(b, d...)
	}
	for _, d := range r.Disabled {
		b = append(append(b, 0xff, 0xff), d...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// address is "www.example.com./A".
func (r *RRset) address() plan.Address {
	if r.Type == 0 {
		return plan.Address(r.Name) // the zone itself
	}
	return plan.Address(r.Name + "/" + typeName(r.Type))
}

// same tells whether two sets have the same TTL and data.
func (r *RRset) same(o *RRset) bool {
	return r.Type == o.Type && r.TTL == o.TTL && slices.Equal(r.Data, o.Data) && slices.Equal(r.Disabled, o.Disabled)
}

func typeName(t uint16) string {
	if s, ok := mdns.TypeToString[t]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", t)
}

// typeCode reads A, AAAA, TYPE65280.
func typeCode(s string) (uint16, bool) {
	if t, ok := mdns.StringToType[s]; ok {
		return t, true
	}
	s = strings.ToUpper(s)
	if t, ok := mdns.StringToType[s]; ok {
		return t, true
	}
	var n uint16
	if rest, ok := strings.CutPrefix(s, "TYPE"); ok && len(rest) <= 5 {
		if _, err := fmt.Sscanf(rest, "%d", &n); err == nil {
			return n, true
		}
	}
	return 0, false
}

// record makes a parsed record of one piece of data.
func (r *RRset) record(data string) (mdns.RR, error) {
	b := make([]byte, 11, 11+len(data))
	binary.BigEndian.PutUint16(b[1:], r.Type)
	binary.BigEndian.PutUint16(b[3:], mdns.ClassINET)
	binary.BigEndian.PutUint32(b[5:], r.TTL)
	binary.BigEndian.PutUint16(b[9:], uint16(len(data)))
	rr, _, err := mdns.UnpackRR(append(b, data...), 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.address(), err)
	}
	rr.Header().Name = r.Name
	return rr, nil
}

// text gives the data in presentation form.
func (r *RRset) text(data string) string {
	rr, err := r.record(data)
	if _, unknown := rr.(*mdns.RFC3597); err != nil || unknown {
		return fmt.Sprintf(`\# %d %x`, len(data), data)
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// document is how a set is shown in a plan and remembered after an apply.
type document struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	TTL      uint32   `json:"ttl"`
	Records  []string `json:"records"`
	Disabled []string `json:"disabled,omitempty"`
	// After names the values that the records wait for.
	After []string `json:"after,omitempty"`
}

// show gives the set as JSON.
func (r *RRset) show() (json.RawMessage, error) {
	if r.Type == 0 {
		return json.Marshal(document{Name: r.Name, Type: kindZone, Records: []string{}})
	}
	d := document{Name: r.Name, Type: typeName(r.Type), TTL: r.TTL, Records: make([]string, 0, len(r.Data))}
	for _, data := range r.Data {
		d.Records = append(d.Records, r.text(data))
	}
	d.Disabled, d.After = r.Disabled, r.Unknown
	return json.Marshal(d)
}

// parseShown is the inverse of show.
func parseShown(doc json.RawMessage) (RRset, error) {
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return RRset{}, err
	}
	typ, ok := typeCode(d.Type)
	if !ok && d.Type == kindZone {
		return RRset{Name: d.Name}, nil
	}
	if !ok {
		return RRset{}, fmt.Errorf("unknown type %q", d.Type)
	}
	r := RRset{Name: d.Name, Type: typ, TTL: d.TTL, Disabled: d.Disabled, Unknown: d.After, Data: make([]string, 0, len(d.Records))}
	for _, text := range d.Records {
		data, err := parseRdata(typ, text, ".")
		if err != nil {
			return r, fmt.Errorf("%s: %w", r.address(), err)
		}
		r.Data = append(r.Data, data)
	}
	r.sort()
	return r, nil
}

// parseRdata reads the presentation form of one record's data.
func parseRdata(typ uint16, text, origin string) (string, error) {
	e, ok, err := newLexer(text).next()
	if err != nil || !ok {
		return "", errors.Join(err, errors.New("the record has no data"))
	}
	var room [64]byte
	if b, common, err := appendCommon(room[:0], typ, e.tokens, origin); common || err != nil {
		return string(b), err
	}
	return parseOther(typ, text, origin)
}

// parseOther leaves the less common types to miekg/dns.
func parseOther(typ uint16, text, origin string) (string, error) {
	zp := mdns.NewZoneParser(strings.NewReader(". 0 IN "+typeName(typ)+" "+text+"\n"), origin, "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil {
		return "", parseReason(err)
	}
	if !ok {
		return "", errors.New("the record has no data")
	}
	if _, more := zp.Next(); more {
		return "", errors.New("more than one record")
	}
	return rdataOf(rr)
}

// parseReason cuts the parser's own position off, which is not the file's.
func parseReason(err error) error {
	s := strings.TrimPrefix(err.Error(), "dns: ")
	if i := strings.LastIndex(s, " at line: "); i > 0 {
		s = s[:i]
	}
	return errors.New(s)
}
