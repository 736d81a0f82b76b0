package sql

import (
	"cmp"
	dbsql "database/sql"
	"slices"

	"trueup.dev/trueup/internal/store"
)

// load is what runs in a slot: all of it, and the part that gives way.
type load struct{ all, patient int }

// head is the oldest due work of one class in one slot.
type head struct {
	kind  store.WorkKind
	slot  string
	class store.Class
	due   int64
	rows  []queued // fetched when the head is first taken
	got   bool
}

type queued struct {
	key string
	due int64
}

// picker chooses what to lease: the most urgent class first, with ageing;
// within a class the slot with the least running; then the longest wait.
type picker struct {
	t       *tx
	o       store.ClaimOptions
	now     int64
	running map[string]*load
	heads   []*head
	picked  []workKey
	patient int // picked work of the classes that leave Reserved free
}

func (p *picker) pick() error {
	if err := p.loads(); err != nil {
		return err
	}
	for _, kind := range p.o.Kinds {
		if err := p.findHeads(kind); err != nil {
			return err
		}
	}
	for len(p.picked) < p.o.Max {
		h := p.best()
		if h == nil {
			return nil
		}
		if err := p.take(h); err != nil {
			return err
		}
	}
	return nil
}

func (p *picker) loads() error {
	return p.t.each(func(r *dbsql.Rows) error {
		var slot string
		var class store.Class
		var n int
		if err := r.Scan(&slot, &class, &n); err != nil {
			return err
		}
		p.load(slot).add(class, n)
		return nil
	}, "SELECT slot, run_class, count(*) FROM work WHERE owner <> '' GROUP BY slot, run_class")
}

func (p *picker) load(slot string) *load {
	l := p.running[slot]
	if l == nil {
		l = &load{}
		p.running[slot] = l
	}
	return l
}

func (l *load) add(c store.Class, n int) {
	l.all += n
	if isPatient(c) {
		l.patient += n
	}
}

// isPatient tells the classes that leave a place to people and pushes.
func isPatient(c store.Class) bool { return c > store.ByPush }

// findHeads finds the due work of a kind.
func (p *picker) findHeads(kind store.WorkKind) error {
	return p.t.heads(kind, 0, func(h *head) {
		if h.due <= p.now {
			p.heads = append(p.heads, h)
		}
	})
}

// heads gives the earliest work later than a time of each class in each
// slot. It jumps from slot to slot through the index: its cost follows the
// number of slots, not of targets.
func (t *tx) heads(kind store.WorkKind, after int64, fn func(h *head)) error {
	return t.each(func(r *dbsql.Rows) error {
		h := &head{kind: kind}
		if err := r.Scan(&h.slot, &h.class, &h.due); err != nil {
			return err
		}
		fn(h)
		return nil
	}, `WITH RECURSIVE slots(slot) AS (
			SELECT (SELECT min(slot) FROM work WHERE kind = ? AND owner = '' AND due_at IS NOT NULL)
			UNION ALL
			SELECT (SELECT min(w.slot) FROM work w WHERE w.kind = ? AND w.owner = '' AND w.due_at IS NOT NULL AND w.slot > slots.slot)
			FROM slots WHERE slots.slot IS NOT NULL),
		heads AS (
			SELECT slots.slot, c.class, (SELECT min(w.due_at) FROM work w
				WHERE w.kind = ? AND w.slot = slots.slot AND w.class = c.class AND w.owner = '' AND w.due_at > ?) AS due
			FROM slots CROSS JOIN (SELECT 0 AS class UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) c
			WHERE slots.slot IS NOT NULL)
		SELECT slot, class, due FROM heads WHERE due IS NOT NULL`, string(kind), string(kind), string(kind), after)
}

// best gives the head to take from next, nil when none may be.
func (p *picker) best() *head {
	var best *head
	for _, h := range p.heads {
		if p.mayTake(h) && (best == nil || p.before(h, best)) {
			best = h
		}
	}
	return best
}

func (p *picker) limit(slot string) int {
	if n, ok := p.o.SlotLimit[slot]; ok {
		return n
	}
	return p.o.DefaultSlot
}

func (p *picker) mayTake(h *head) bool {
	if h.got && len(h.rows) == 0 {
		return false
	}
	limit, l := p.limit(h.slot), p.load(h.slot)
	if l.all >= limit {
		return false
	}
	if !isPatient(p.aged(h)) {
		return true
	}
	// One place of a slot with several, and Reserved of all, stay free for
	// people and pushes.
	if limit > 1 && l.patient >= limit-1 {
		return false
	}
	return p.patient < p.o.Max-p.o.Reserved
}

// aged is the class that work has risen to by waiting.
func (p *picker) aged(h *head) store.Class {
	up := (p.now - h.due) / ageing.Microseconds()
	return max(h.class-store.Class(min(max(up, 0), 8)), store.ByPerson)
}

func (p *picker) before(a, b *head) bool {
	return cmp.Or(
		cmp.Compare(p.aged(a), p.aged(b)),
		cmp.Compare(p.load(a.slot).all, p.load(b.slot).all),
		cmp.Compare(a.due+int64(a.class)*ageing.Microseconds(), b.due+int64(b.class)*ageing.Microseconds()),
		cmp.Compare(a.slot, b.slot)) < 0
}

func (p *picker) take(h *head) error {
	if !h.got {
		if err := p.fetch(h); err != nil || len(h.rows) == 0 {
			return err
		}
	}
	aged := p.aged(h)
	p.picked = append(p.picked, workKey{h.kind, h.rows[0].key})
	if h.rows = h.rows[1:]; len(h.rows) > 0 {
		h.due = h.rows[0].due
	}
	p.load(h.slot).add(aged, 1)
	if isPatient(aged) {
		p.patient++
	}
	return nil
}

func (p *picker) fetch(h *head) error {
	h.got = true
	room := min(p.o.Max-len(p.picked), p.limit(h.slot)-p.load(h.slot).all)
	err := p.t.each(func(r *dbsql.Rows) error {
		var q queued
		err := r.Scan(&q.key, &q.due)
		h.rows = append(h.rows, q)
		return err
	}, `SELECT key, due_at FROM work WHERE kind = ? AND slot = ? AND class = ? AND owner = '' AND due_at <= ?
		ORDER BY due_at LIMIT ?{skip}`, string(h.kind), h.slot, int(h.class), p.now, room)
	slices.SortStableFunc(h.rows, func(a, b queued) int { return cmp.Compare(a.due, b.due) })
	if len(h.rows) > 0 {
		h.due = h.rows[0].due
	}
	return err
}
