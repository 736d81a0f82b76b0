package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
)

// client speaks DNS over TCP with one server.
type client struct {
	addr    string
	key     *tsigKey
	timeout time.Duration
}

// conn is one connection; it is closed when its context ends.
type conn struct {
	net.Conn
	c    *client
	in   *bufio.Reader
	stop func() bool
	room []byte
}

func (c *client) dial(ctx context.Context) (*conn, error) {
	d := net.Dialer{Timeout: c.timeout}
	n, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w: %w", c.addr, driver.ErrUnreachable, err)
	}
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = n.SetDeadline(past) })
	return &conn{Conn: n, c: c, in: bufio.NewReaderSize(n, 64<<10), stop: stop}, nil
}

// Close ends the connection.
func (n *conn) Close() error {
	n.stop()
	return n.Conn.Close()
}

// send signs a message, if there is a key, and writes it. The verifier checks
// the answers.
func (n *conn) send(ctx context.Context, msg []byte, key *tsigKey) (*verifier, error) {
	v := &verifier{}
	if key != nil {
		var mac []byte
		msg, mac = key.sign(msg, time.Now())
		v = &verifier{key: key, prior: mac}
	}
	if len(msg) > 65535 {
		return nil, fmt.Errorf("a message of %d bytes is too large", len(msg))
	}
	if err := n.deadline(ctx); err != nil {
		return nil, err
	}
	frame := append(binary.BigEndian.AppendUint16(make([]byte, 0, len(msg)+2), uint16(len(msg))), msg...)
	if _, err := n.Write(frame); err != nil {
		return nil, n.lost(ctx, err)
	}
	return v, nil
}

func (n *conn) deadline(ctx context.Context) error {
	if err := n.SetDeadline(time.Now().Add(n.c.timeout)); err != nil {
		return err
	}
	return ctx.Err() // a context that ended before the deadline was set
}

// receive reads one message; it is valid until the next call.
func (n *conn) receive(ctx context.Context) ([]byte, error) {
	if err := n.deadline(ctx); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(n.in, size[:]); err != nil {
		return nil, n.lost(ctx, err)
	}
	if n.room == nil {
		n.room = make([]byte, 65535)
	}
	msg := n.room[:binary.BigEndian.Uint16(size[:])]
	if _, err := io.ReadFull(n.in, msg); err != nil {
		return nil, n.lost(ctx, err)
	}
	return msg, nil
}

func (n *conn) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%s: no answer within %s: %w", n.c.addr, n.c.timeout, driver.ErrUnreachable)
	}
	return fmt.Errorf("%s: the connection was lost: %w: %w", n.c.addr, driver.ErrUnreachable, err)
}

// answer is a checked answer.
type answer struct {
	msg []byte
	header
	sig tsigRecord
}

// next reads and checks the next answer to a request.
func (n *conn) next(ctx context.Context, id uint16, v *verifier) (answer, error) {
	msg, err := n.receive(ctx)
	if err != nil {
		return answer{}, err
	}
	h, err := readHeader(msg)
	if err != nil {
		return answer{}, err
	}
	if h.id != id || !h.response() {
		return answer{}, fmt.Errorf("%s: an answer to another question: %w", n.c.addr, errMessage)
	}
	a := answer{msg: msg, header: h}
	if a.sig, err = v.check(msg, time.Now()); err != nil {
		if h.rcode() != 0 {
			// A server that does not know the key can't sign its refusal.
			return a, rcodeError(n.c.addr, h.rcode(), a.sig)
		}
		return a, driver.Permanent(fmt.Errorf("%s: %w", n.c.addr, err))
	}
	return a, nil
}

// ask sends one question and gives the answer.
func (n *conn) ask(ctx context.Context, name string, typ, class uint16, key *tsigKey) (answer, error) {
	id := uint16(rand.Uint32())
	msg, err := newQuery(id, name, typ, class)
	if err != nil {
		return answer{}, err
	}
	v, err := n.send(ctx, msg, key)
	if err != nil {
		return answer{}, err
	}
	return n.next(ctx, id, v)
}

// soa asks for a zone's SOA.
func (n *conn) soa(ctx context.Context, zone string) (RRset, error) {
	a, err := n.ask(ctx, zone, mdns.TypeSOA, mdns.ClassINET, n.c.key)
	if err == nil {
		err = rcodeError("SOA of "+zone, a.rcode(), a.sig)
	}
	if err != nil {
		return RRset{}, err
	}
	var got *RRset
	err = eachAnswer(a.msg, a.header, func(name []byte, r wireRecord) error {
		if r.typ == mdns.TypeSOA && string(name) == zone {
			s, err := soaSet(zone, a.msg, r)
			got = &s
			return err
		}
		return nil
	})
	if err == nil && got == nil {
		err = driver.Permanent(fmt.Errorf("%s does not serve the zone %s", n.c.addr, zone))
	}
	if err != nil {
		return RRset{}, err
	}
	return *got, nil
}

// identity asks for the server's configured name (RFC 4892); servers need not
// answer.
func (n *conn) identity(ctx context.Context) (string, error) {
	a, err := n.ask(ctx, "id.server.", mdns.TypeTXT, mdns.ClassCHAOS, nil)
	if err != nil || a.rcode() != 0 {
		if errors.Is(err, driver.ErrUnreachable) || ctx.Err() != nil {
			return "", err
		}
		return "", nil
	}
	out := ""
	err = eachAnswer(a.msg, a.header, func(_ []byte, r wireRecord) error {
		if r.typ == mdns.TypeTXT && r.size > 1 {
			out = string(a.msg[r.data+1 : r.data+r.size])
		}
		return nil
	})
	return out, err
}

// eachAnswer calls f for each record of the answer section.
func eachAnswer(msg []byte, h header, f func(name []byte, r wireRecord) error) error {
	off, err := skipQuestions(msg, h)
	if err != nil {
		return err
	}
	name := make([]byte, 0, 256)
	for range h.answers {
		if name, off, err = readName(name[:0], msg, off); err != nil {
			return err
		}
		r, err := readFixed(msg, off)
		if err != nil {
			return err
		}
		if err := f(name, r); err != nil {
			return err
		}
		off = r.data + r.size
	}
	return nil
}

// soaSet takes the serial out of a SOA's data: it changes with every update.
func soaSet(zone string, msg []byte, r wireRecord) (RRset, error) {
	data, err := appendRdata(nil, msg, r.data, r.size, r.typ)
	if err != nil {
		return RRset{}, err
	}
	s := RRset{Name: zone, Type: r.typ, TTL: r.ttl}
	s.Serial, data = takeSerial(data)
	s.Data = []string{string(data)}
	return s, nil
}

// takeSerial reads a SOA's serial and puts zero in its place.
func takeSerial(data []byte) (uint32, []byte) {
	at := len(data) - 20
	if at < 2 {
		return 0, data
	}
	serial := binary.BigEndian.Uint32(data[at:])
	binary.BigEndian.PutUint32(data[at:], 0)
	return serial, data
}

// withSerial puts a serial into a SOA's data.
func withSerial(data string, serial uint32) string {
	b := []byte(data)
	if at := len(b) - 20; at >= 2 {
		binary.BigEndian.PutUint32(b[at:], serial)
	}
	return string(b)
}

// mname is the primary's name in a SOA's data.
func mname(soa RRset) string {
	if len(soa.Data) == 1 {
		if t := targets(mdns.TypeSOA, soa.Data[0]); len(t) > 0 {
			return t[0]
		}
	}
	return ""
}
