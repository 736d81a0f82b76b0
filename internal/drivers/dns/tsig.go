package dns

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// TSIG as in RFC 8945, over messages in wire form: large transfers are checked
// without being taken apart first, and updates are signed as they were built.

var errTSIG = errors.New("the server's signature is wrong")

const fudge = 300 // seconds, as RFC 8945 section 10 recommends

type tsigKey struct {
	name, algorithm []byte // wire form
	secret          []byte
	hash            func() hash.Hash
}

func newTSIGKey(name, algorithm string, secret []byte) (*tsigKey, error) {
	if algorithm == "" {
		algorithm = "hmac-sha256"
	}
	hashes := map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha224": sha256.New224, "hmac-sha256": sha256.New,
		"hmac-sha384": sha512.New384, "hmac-sha512": sha512.New}
	algorithm = strings.ToLower(strings.TrimSuffix(algorithm, "."))
	h, ok := hashes[algorithm]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q: use hmac-sha256, hmac-sha512, hmac-sha384, hmac-sha224 or hmac-sha1", algorithm)
	}
	k := &tsigKey{secret: secret, hash: h}
	var err error
	if k.name, err = appendName(nil, name, "."); err != nil {
		return nil, err
	}
	k.algorithm, err = appendName(nil, algorithm, ".")
	return k, err
}

// sign appends a TSIG record to a message and gives its MAC, which the answer
// is checked against.
func (k *tsigKey) sign(msg []byte, now time.Time) (signed, mac []byte) {
	stamp := uint64(now.Unix())
	h := hmac.New(k.hash, k.secret)
	h.Write(msg)
	h.Write(k.variables(stamp, 0, nil))
	mac = h.Sum(nil)
	id := binary.BigEndian.Uint16(msg)
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	msg = append(msg, k.name...)
	msg = binary.BigEndian.AppendUint16(msg, mdns.TypeTSIG)
	msg = binary.BigEndian.AppendUint16(msg, mdns.ClassANY)
	msg = binary.BigEndian.AppendUint32(msg, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(k.algorithm)+10+len(mac)+6))
	msg = append(msg, k.algorithm...)
	msg = appendTime(msg, stamp)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(mac)))
	msg = append(msg, mac...)
	msg = binary.BigEndian.AppendUint16(msg, id)
	return append(msg, 0, 0, 0, 0), mac
}

func appendTime(b []byte, stamp uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(stamp>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(stamp))
	return binary.BigEndian.AppendUint16(b, fudge)
}

// variables is what is digested behind the message (RFC 8945 section 4.3.3).
func (k *tsigKey) variables(stamp uint64, rcode uint16, other []byte) []byte {
	b := append([]byte(nil), k.name...)
	b = append(b, 0, mdns.ClassANY, 0, 0, 0, 0)
	b = append(b, k.algorithm...)
	b = appendTime(b, stamp)
	b = binary.BigEndian.AppendUint16(b, rcode)
	b = binary.BigEndian.AppendUint16(b, uint16(len(other)))
	return append(b, other...)
}

// tsigRecord is the TSIG record of an answer.
type tsigRecord struct {
	start     int // where it begins in the message
	name, alg []byte
	stamp     uint64
	fudge     uint16
	mac       []byte
	id, rcode uint16
	other     []byte
}

// verifier checks the answers to one signed request, in their order. Up to 99
// unsigned messages may stand between two signed ones (RFC 8945 section 5.3.1).
type verifier struct {
	key      *tsigKey
	prior    []byte // the MAC before
	pending  [][]byte
	messages int
}

// check takes the next message in. It keeps a copy of an unsigned one.
func (v *verifier) check(msg []byte, now time.Time) (tsigRecord, error) {
	if v.key == nil {
		return tsigRecord{}, nil
	}
	v.messages++
	rec, signed, err := findTSIG(msg)
	switch {
	case err != nil:
		return rec, err
	case !signed && (v.messages == 1 || len(v.pending) >= 99):
		return rec, fmt.Errorf("an answer is not signed: %w", errTSIG)
	case !signed:
		v.pending = append(v.pending, append([]byte(nil), msg...))
		return rec, nil
	case rec.rcode != 0 && len(rec.mac) == 0:
		return rec, nil // the caller turns the code into an error
	case string(rec.name) != string(v.key.name) || string(rec.alg) != string(v.key.algorithm):
		return rec, fmt.Errorf("it is made with another key: %w", errTSIG)
	}
	h := hmac.New(v.key.hash, v.key.secret)
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(v.prior))))
	h.Write(v.prior)
	for _, p := range v.pending {
		h.Write(p)
	}
	v.pending = nil
	head := append([]byte(nil), msg[:12]...)
	binary.BigEndian.PutUint16(head, rec.id)
	binary.BigEndian.PutUint16(head[10:], binary.BigEndian.Uint16(head[10:])-1)
	h.Write(head)
	h.Write(msg[12:rec.start])
	if v.messages == 1 {
		k := *v.key
		h.Write(k.variablesOf(rec))
	} else {
		h.Write(timers(rec))
	}
	mac := h.Sum(nil)
	if !hmac.Equal(mac, rec.mac) {
		return rec, errTSIG
	}
	v.prior = append([]byte(nil), rec.mac...)
	if d := now.Unix() - int64(rec.stamp); d > int64(rec.fudge) || -d > int64(rec.fudge) {
		return rec, fmt.Errorf("it was made %d seconds from now, the clocks differ: %w", -d, errTSIG)
	}
	return rec, nil
}

// end tells whether the last message was signed.
func (v *verifier) end() error {
	if len(v.pending) > 0 {
		return fmt.Errorf("the last message is not signed: %w", errTSIG)
	}
	return nil
}

func timers(rec tsigRecord) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(rec.stamp>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(rec.stamp))
	return binary.BigEndian.AppendUint16(b, rec.fudge)
}

func (k *tsigKey) variablesOf(rec tsigRecord) []byte {
	b := append([]byte(nil), k.name...)
	b = append(b, 0, mdns.ClassANY, 0, 0, 0, 0)
	b = append(append(b, k.algorithm...), timers(rec)...)
	b = binary.BigEndian.AppendUint16(b, rec.rcode)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rec.other)))
	return append(b, rec.other...)
}

// findTSIG finds the TSIG record at the end of a message.
func findTSIG(msg []byte) (tsigRecord, bool, error) {
	h, err := readHeader(msg)
	if err != nil {
		return tsigRecord{}, false, err
	}
	if h.additional == 0 {
		return tsigRecord{}, false, nil
	}
	off, err := skipRecords(msg, h)
	if err != nil {
		return tsigRecord{}, false, err
	}
	rec := tsigRecord{start: off}
	if rec.name, off, err = expandName(nil, msg, off); err != nil {
		return rec, false, err
	}
	if off+10 > len(msg) {
		return rec, false, errShort
	}
	if binary.BigEndian.Uint16(msg[off:]) != mdns.TypeTSIG {
		return rec, false, nil
	}
	// Class and TTL are digested as the constants they must be.
	if binary.BigEndian.Uint16(msg[off+2:]) != mdns.ClassANY || binary.BigEndian.Uint32(msg[off+4:]) != 0 {
		return rec, false, fmt.Errorf("the TSIG record's class or TTL is wrong: %w", errTSIG)
	}
	if rec.alg, off, err = expandName(nil, msg, off+10); err != nil {
		return rec, false, err
	}
	if off+10 > len(msg) {
		return rec, false, errShort
	}
	rec.stamp = uint64(binary.BigEndian.Uint16(msg[off:]))<<32 | uint64(binary.BigEndian.Uint32(msg[off+2:]))
	rec.fudge = binary.BigEndian.Uint16(msg[off+6:])
	n := int(binary.BigEndian.Uint16(msg[off+8:]))
	off += 10
	if off+n+6 > len(msg) {
		return rec, false, errShort
	}
	rec.mac = msg[off : off+n]
	off += n
	rec.id, rec.rcode = binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	if n = int(binary.BigEndian.Uint16(msg[off+4:])); off+6+n > len(msg) {
		return rec, false, errShort
	}
	rec.other = msg[off+6 : off+6+n]
	return rec, true, nil
}
