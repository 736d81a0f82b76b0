package audit

import (
	"encoding/json"
	"fmt"
	"runtime"
	"sync"

	"trueup.dev/trueup/internal/store"
)

// Checker follows a chain of events, from the oldest on, and stops at the
// first that is not what it was. Events from before there was a chain have
// neither hash nor signature, and come first.
type Checker struct {
	key    Key
	anchor store.AuditAnchor
	report store.AuditReport

	prev     string
	prevSeq  int64
	chained  bool
	retained RetainedData // by the newest event that tells
	pending  []store.Event
}

// NewChecker makes a checker for a chain that begins behind an anchor; the
// zero anchor is the very beginning.
func NewChecker(key Key, anchor store.AuditAnchor) *Checker {
	c := &Checker{key: key, anchor: anchor, prev: Genesis}
	if anchor.Hash != "" {
		c.prev, c.prevSeq, c.chained = anchor.Hash, anchor.Seq, anchor.Hash != Genesis
	}
	return c
}

// batch is how many signatures are checked together.
const batch = 512

// Add takes the next event. It tells whether to go on.
func (c *Checker) Add(e store.Event) bool {
	if c.report.Broken != nil {
		return false
	}
	c.report.Events++
	if c.report.First == 0 {
		c.report.First = e.Seq
	}
	if why := c.link(e); why != "" {
		c.flush()
		c.fail(e.Seq, why)
		return false
	}
	c.report.Last, c.prevSeq = e.Seq, e.Seq
	if !c.chained {
		c.report.Unchained++
		return true
	}
	c.prev = e.Hash
	if e.Kind == Retained {
		if err := json.Unmarshal(e.Data, &c.retained); err != nil {
			c.fail(e.Seq, "its data can't be read")
		}
	}
	if c.pending = append(c.pending, e); len(c.pending) == batch {
		c.flush()
	}
	return c.report.Broken == nil
}

// link says what is wrong between an event and the one before it.
func (c *Checker) link(e store.Event) string {
	if e.Hash == "" && !c.chained && e.Seq > 0 {
		return ""
	}
	if c.prevSeq > 0 && e.Seq != c.prevSeq+1 {
		if e.Seq == c.prevSeq+2 {
			return fmt.Sprintf("record %d, before it, is missing", c.prevSeq+1)
		}
		return fmt.Sprintf("records %d to %d, before it, are missing", c.prevSeq+1, e.Seq-1)
	}
	c.chained = true
	want, err := Hash(c.prev, e)
	switch {
	case err != nil:
		return "its data can't be read"
	case e.Hash == "":
		return "it has no hash: it was not written by trueup"
	case want != e.Hash:
		return "its hash does not fit its content and the record before it"
	}
	return ""
}

// flush checks the signatures of the events so far.
func (c *Checker) flush() {
	bad := firstUnsigned(c.key, c.pending)
	if bad >= 0 && c.report.Broken == nil {
		c.fail(c.pending[bad].Seq, "its signature is not that of this server's key")
	}
	c.pending = c.pending[:0]
}

// firstUnsigned gives the place of the first event without a good signature,
// -1 for none.
func firstUnsigned(key Key, events []store.Event) int {
	ok := make([]bool, len(events))
	workers := max(1, min(runtime.GOMAXPROCS(0), len(events)/16))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(events); i += workers {
				ok[i] = key.Signed(events[i].Hash, events[i].Sig)
			}
		})
	}
	wg.Wait()
	for i, good := range ok {
		if !good {
			return i
		}
	}
	return -1
}

func (c *Checker) fail(seq int64, why string) {
	if b := c.report.Broken; b == nil || seq < b.Seq {
		c.report.Broken = &store.AuditBreak{Seq: seq, What: fmt.Sprintf("record %d", seq), Why: why}
	}
}

// End gives the result. Newest is the number that the store gave last, so that
// a record cut off at its end shows; 0 is not known.
func (c *Checker) End(newest int64) store.AuditReport {
	c.flush()
	if c.report.Broken == nil {
		c.ends(newest)
	}
	c.report.Head = c.prev
	c.report.Anchor = c.anchor
	return c.report
}

func (c *Checker) ends(newest int64) {
	last := max(c.prevSeq, c.anchor.Seq)
	switch {
	case newest > last:
		c.fail(last+1, fmt.Sprintf("it is missing, with all up to record %d", newest))
	case newest != 0 && newest < last:
		c.fail(newest+1, "it is newer than the newest number that the store gave")
	case c.anchor.Hash != "" && !c.key.Signed(c.anchor.Hash, c.anchor.Sig):
		c.fail(c.anchor.Seq, "the record that the chain begins behind is not signed by this server's key")
	case c.anchor.Seq != c.retained.Seq || c.anchor.Hash != c.retained.Hash:
		c.fail(c.anchor.Seq+1, fmt.Sprintf("the chain begins here, but by its own record it begins behind %d", c.retained.Seq))
	}
}

// Report gives what is known so far.
func (c *Checker) Report() store.AuditReport { return c.report }

// Fail adds a break that is not in the chain itself: a row that differs from
// what the chain says of it.
func (c *Checker) Fail(what, why string) {
	if c.report.Broken == nil {
		c.report.Broken = &store.AuditBreak{What: what, Why: why}
	}
}
