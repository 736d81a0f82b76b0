//go:build real

package killtest

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between trueup and the DNS server and is as bad as a network
// can be. What it does to a connection is decided per message.
type proxy struct {
	l      net.Listener
	server string

	mu      sync.Mutex
	rng     *rand.Rand
	cut     float64       // share of updates that are cut; of queries, a fifth of it
	hold    chan struct{} // updates wait here while it is not nil
	answers bool          // not the update waits but its answer
	held    int           // updates that wait or have waited
	gone    time.Time     // when a client last gave a held update up
	cuts    map[string]int
	updates []update
}

// update is the time in which an update of a zone was on its way.
type update struct {
	zone     string
	from, to time.Time
}

func newProxy(t *testing.T, server string, rng *rand.Rand) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, server: server, rng: rand.New(rand.NewPCG(rng.Uint64(), 2)), cuts: map[string]int{}}
	t.Cleanup(func() { _ = l.Close(); p.release() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// disturb sets the share of exchanges that are cut.
func (p *proxy) disturb(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = share
}

// holdUpdates lets updates, or their answers, wait until release.
func (p *proxy) holdUpdates(answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold, p.answers, p.held = make(chan struct{}), answers, 0
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		close(p.hold)
		p.hold = nil
	}
}

func (p *proxy) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	for {
		frame, err := readFrame(client)
		if err != nil || !p.exchange(client, server, frame) {
			return
		}
	}
}

// exchange passes one request and its answers on; false ends the connection.
func (p *proxy) exchange(client, server net.Conn, frame []byte) bool {
	isUpdate := len(frame) > 12 && frame[4]>>3&15 == 5
	how := p.fate(isUpdate)
	if isUpdate {
		from, zone := time.Now(), zoneOf(frame)
		defer func() { p.sent(update{zone, from, time.Now()}) }()
	}
	if how == "hold request" && !p.wait(client) {
		return false
	}
	if how == "half a request" {
		n := p.random(len(frame))
		_, _ = server.Write(frame[:n])
		return false
	}
	if _, err := server.Write(frame); err != nil || how == "no wait" {
		return false
	}
	if !isUpdate {
		return p.answer(client, server, how)
	}
	answer, err := readFrame(server)
	if err != nil || how == "no answer" {
		return false
	}
	if how == "hold answer" && !p.wait(client) {
		return false
	}
	_, err = client.Write(answer)
	return err == nil
}

// answer passes the answers of a query on until the client has all that it
// wants and closes, or the cut comes.
func (p *proxy) answer(client, server net.Conn, how string) bool {
	left := int64(1 << 40)
	if how == "half an answer" {
		left = int64(p.random(400))
	}
	go func() {
		// The client's next requests, or its end.
		for {
			frame, err := readFrame(client)
			if err != nil || !p.pass(server, frame) {
				_ = server.Close()
				return
			}
		}
	}()
	_, _ = io.CopyN(client, server, left)
	return false
}

// pass forwards a further request on a connection whose answers flow already.
func (p *proxy) pass(server net.Conn, frame []byte) bool {
	if len(frame) > 12 && frame[4]>>3&15 == 5 {
		from, zone := time.Now(), zoneOf(frame)
		defer func() { p.sent(update{zone, from, time.Now()}) }()
	}
	_, err := server.Write(frame)
	return err == nil
}

// wait holds until release; false when the client went away meanwhile.
func (p *proxy) wait(client net.Conn) bool {
	p.mu.Lock()
	hold := p.hold
	p.held++
	p.mu.Unlock()
	if hold == nil {
		return true
	}
	for {
		select {
		case <-hold:
			return client.SetReadDeadline(time.Time{}) == nil
		default:
		}
		// A client that waits for an answer sends nothing: this is where its
		// end shows.
		_ = client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		var timeout net.Error
		if _, err := client.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			p.mu.Lock()
			p.gone = time.Now()
			p.mu.Unlock()
			return false
		}
	}
}

// fate decides what happens to a request.
func (p *proxy) fate(isUpdate bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	how := ""
	switch {
	case isUpdate && p.hold != nil && p.answers:
		return "hold answer"
	case isUpdate && p.hold != nil:
		return "hold request"
	case p.rng.Float64() >= p.cut || !isUpdate && p.rng.IntN(5) > 0: // queries are many
		return ""
	case isUpdate:
		how = []string{"half a request", "no answer", "no wait"}[p.rng.IntN(3)]
	default:
		how = "half an answer"
	}
	p.cuts[how]++
	return how
}

func (p *proxy) sent(u update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updates = append(p.updates, u)
}

func (p *proxy) random(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.IntN(n)
}

// readFrame reads one message with its length before it.
func readFrame(c net.Conn) ([]byte, error) {
	frame := make([]byte, 2)
	if _, err := io.ReadFull(c, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint16(frame))...)
	_, err := io.ReadFull(c, frame[2:])
	return frame, err
}

// zoneOf reads the name in the zone section of an update.
func zoneOf(frame []byte) string {
	var labels []string
	for at := 14; at < len(frame) && frame[at] != 0; {
		n := int(frame[at])
		if at+1+n > len(frame) {
			break
		}
		labels = append(labels, string(frame[at+1:at+1+n]))
		at += 1 + n
	}
	return strings.Join(labels, ".")
}
