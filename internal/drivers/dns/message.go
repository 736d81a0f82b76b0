package dns

import (
	"encoding/binary"
)

// header is the fixed part of a message (RFC 1035 section 4.1.1); an update
// calls the sections zone, prerequisite, update and additional.
type header struct {
	id         uint16
	flags      uint16
	questions  int
	answers    int
	authority  int
	additional int
}

func (h header) rcode() int      { return int(h.flags & 15) }
func (h header) response() bool  { return h.flags&0x8000 != 0 }
func (h header) truncated() bool { return h.flags&0x0200 != 0 }

func readHeader(msg []byte) (header, error) {
	if len(msg) < 12 {
		return header{}, errShort
	}
	at := func(i int) uint16 { return binary.BigEndian.Uint16(msg[i:]) }
	return header{id: at(0), flags: at(2), questions: int(at(4)), answers: int(at(6)), authority: int(at(8)), additional: int(at(10))}, nil
}

func skipName(msg []byte, off int) (int, error) {
	for off < len(msg) {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1, nil
		case n >= 192:
			return off + 2, nil
		case n >= 64:
			return 0, errMessage
		}
		off += n + 1
	}
	return 0, errShort
}

// skipQuestions gives the offset of the first record.
func skipQuestions(msg []byte, h header) (int, error) {
	off := 12
	var err error
	for range h.questions {
		if off, err = skipName(msg, off); err != nil {
			return 0, err
		}
		if off += 4; off > len(msg) {
			return 0, errShort
		}
	}
	return off, nil
}

// skipRecords gives the offset of the message's last record.
func skipRecords(msg []byte, h header) (int, error) {
	off, err := skipQuestions(msg, h)
	if err != nil {
		return 0, err
	}
	for range h.answers + h.authority + h.additional - 1 {
		if off, err = skipName(msg, off); err != nil {
			return 0, err
		}
		if off+10 > len(msg) {
			return 0, errShort
		}
		off += 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	}
	if off >= len(msg) {
		return 0, errShort
	}
	return off, nil
}

// wireRecord is one record of a message; its data is read by appendRdata.
type wireRecord struct {
	typ, class uint16
	ttl        uint32
	data, size int // offset and length of the data in the message
}

// readFixed reads the part of a record behind its name.
func readFixed(msg []byte, off int) (wireRecord, error) {
	if off+10 > len(msg) {
		return wireRecord{}, errShort
	}
	r := wireRecord{typ: binary.BigEndian.Uint16(msg[off:]), class: binary.BigEndian.Uint16(msg[off+2:]),
		ttl: binary.BigEndian.Uint32(msg[off+4:]), data: off + 10, size: int(binary.BigEndian.Uint16(msg[off+8:]))}
	if r.data+r.size > len(msg) {
		return r, errShort
	}
	return r, nil
}

// newQuery makes a query for one name and type.
func newQuery(id uint16, name string, typ, class uint16) ([]byte, error) {
	msg := make([]byte, 12, 512)
	binary.BigEndian.PutUint16(msg, id)
	binary.BigEndian.PutUint16(msg[4:], 1)
	msg, err := appendName(msg, name, ".")
	if err != nil {
		return nil, err
	}
	msg = binary.BigEndian.AppendUint16(msg, typ)
	return binary.BigEndian.AppendUint16(msg, class), nil
}

// appendRecord appends a whole record.
func appendRecord(msg []byte, name []byte, typ, class uint16, ttl uint32, data string) []byte {
	msg = append(msg, name...)
	msg = binary.BigEndian.AppendUint16(msg, typ)
	msg = binary.BigEndian.AppendUint16(msg, class)
	msg = binary.BigEndian.AppendUint32(msg, ttl)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...)
}
