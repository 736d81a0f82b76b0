package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/plan"
)

// outbox sends the messages of one request, one after the other. It is the
// driver.Report of an apply: nothing is written before the server has noted
// that it will be.
type outbox struct {
	a       *Agent
	request string
	stop    func() // ends the work on the request
	mu      sync.Mutex
	seq     int64
	broken  error
	logMu   sync.Mutex
	lines   []string
	results []plan.Result
}

// patience is how long a message is tried: as long as the run lives that
// waits for it.
const patience = wire.Life

// send brings a message to the run and waits for what it says.
func (o *outbox) send(ctx context.Context, m *wire.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.flush(ctx); err != nil {
		return err
	}
	return o.one(ctx, m)
}

func (o *outbox) flush(ctx context.Context) error {
	o.logMu.Lock()
	lines := o.lines
	o.lines = nil
	o.logMu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	return o.one(ctx, &wire.Message{Kind: wire.Log, Lines: lines})
}

func (o *outbox) one(ctx context.Context, m *wire.Message) error {
	if o.broken != nil {
		return o.broken
	}
	packed, err := wire.Pack(m)
	if err != nil {
		return err
	}
	o.seq++
	call := wire.MessageCall{Request: o.request, Seq: o.seq, Message: packed}
	start, wait := time.Now(), 200*time.Millisecond
	for {
		var ans wire.MessageAnswer
		err := o.a.client.post(ctx, wire.PathMessage, call, &ans)
		if over, fault := o.verdict(ans, err); over {
			return fault
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(start) > patience:
			o.broken = errors.Join(errNoAnswer, err)
			return o.broken
		case err == nil:
			continue // the server has waited already
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// verdict tells whether a message has its answer.
func (o *outbox) verdict(ans wire.MessageAnswer, err error) (over bool, fault error) {
	var no *refused
	switch {
	case errors.Is(err, errGone), errors.As(err, &no):
		o.broken = err
		return true, err
	case err != nil:
		return false, nil
	}
	if ans.Stop && o.stop != nil {
		o.stop()
	}
	if ans.Acked && ans.Refusal != "" {
		return true, errors.New(ans.Refusal)
	}
	return ans.Acked, nil
}

var errNoAnswer = errors.New("the server does not answer")

// The size of journal messages.
const (
	maxKeys  = 2000
	maxBytes = 256 << 10
)

// Pending has the server note what is about to be written.
func (o *outbox) Pending(ctx context.Context, keys []plan.Key) error {
	for len(keys) > 0 {
		n, size := 0, 0
		for n < len(keys) && (n == 0 || size < maxBytes && n < maxKeys) {
			size += len(keys[n].Scope) + len(keys[n].Address)
			n++
		}
		if err := o.send(ctx, &wire.Message{Kind: wire.Pending, Keys: keys[:n]}); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// Done has the server record outcomes, also when the apply is being cancelled.
func (o *outbox) Done(ctx context.Context, results []plan.Result) error {
	o.logMu.Lock()
	o.results = append(o.results, results...)
	o.logMu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for len(results) > 0 {
		n, size := 0, 0
		for n < len(results) && (n == 0 || size < maxBytes && n < maxKeys) {
			size += 300 + len(results[n].LastApplied) + len(results[n].Error)
			n++
		}
		if err := o.send(ctx, &wire.Message{Kind: wire.Done, Results: results[:n]}); err != nil {
			return err
		}
		results = results[n:]
	}
	return nil
}

// maxLines bounds the lines that wait.
const maxLines = 1000

// Logf adds a line; it goes with the next message.
func (o *outbox) Logf(format string, args ...any) {
	o.logMu.Lock()
	defer o.logMu.Unlock()
	if len(o.lines) < maxLines {
		o.lines = append(o.lines, fmt.Sprintf(format, args...))
	}
}

func (o *outbox) done() []plan.Result {
	o.logMu.Lock()
	defer o.logMu.Unlock()
	return o.results
}

// answer sends the outcome, in parts.
func (o *outbox) answer(ctx context.Context, out wire.Outcome) error {
	packed, err := wire.Pack(out)
	if err != nil {
		return err
	}
	for {
		n := min(len(packed), wire.MaxPart)
		if err := o.send(ctx, &wire.Message{Kind: wire.Part, Part: packed[:n], Last: n == len(packed)}); err != nil {
			return err
		}
		if packed = packed[n:]; len(packed) == 0 {
			return nil
		}
	}
}
