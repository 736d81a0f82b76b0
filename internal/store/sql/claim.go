package sql

import (
	"cmp"
	"context"
	dbsql "database/sql"
	"encoding/json"
	"slices"
	"time"

	"trueup.dev/trueup/internal/store"
)

// ageing is how long work waits for each class that it moves up.
const ageing = 2 * time.Minute

// maxTriggers is how many triggers come with a lease.
const maxTriggers = 100

// Claim leases due work.
func (d *DB) Claim(ctx context.Context, o store.ClaimOptions) ([]store.Lease, error) {
	if o.Max <= 0 || len(o.Kinds) == 0 {
		return nil, nil
	}
	d.wake.claiming()
	var leases []store.Lease
	var now int64
	err := d.soon(ctx, func(t *tx) (err error) {
		leases, now, err = t.claim(o)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.claimMu.Lock()
	for _, k := range o.Kinds {
		d.lastClaim[k] = max(d.lastClaim[k], now)
	}
	d.claimMu.Unlock()
	return leases, nil
}

func (t *tx) claim(o store.ClaimOptions) ([]store.Lease, int64, error) {
	// One claim at a time: slots are counted over all replicas.
	if err := t.lock(lockClaim); err != nil {
		return nil, 0, err
	}
	at, err := t.now()
	if err != nil {
		return nil, 0, err
	}
	now := at.UnixMicro()
	var current int64
	if err := t.get([]any{&current}, "SELECT COALESCE(max(version), 0) FROM configs"); err != nil {
		return nil, 0, err
	}
	if o.ConfigVersion < current {
		return nil, now, nil
	}
	if err := t.reap(now); err != nil {
		return nil, 0, err
	}
	p := &picker{t: t, o: o, now: now, running: map[string]*load{}}
	if err := p.pick(); err != nil {
		return nil, 0, err
	}
	leases, err := t.lease(p.picked, o, now)
	return leases, now, err
}

// reap makes the work of holders that are gone due again.
func (t *tx) reap(now int64) error {
	_, err := t.exec(`UPDATE work SET owner = '', cancel_by = '',
		class = CASE WHEN due_at IS NULL OR run_class < class THEN run_class ELSE class END,
		due_at = CASE WHEN due_at IS NULL OR due_at > ? THEN ? ELSE due_at END
		WHERE owner <> '' AND reap_at <= ?`, now, now, now)
	return err
}

// voidLeases ends all leases at once: the lock on the data directory proves
// that their holders are dead.
func (d *DB) voidLeases(ctx context.Context) error {
	return d.durable(ctx, func(t *tx) error { return t.voidLeases() })
}

func (t *tx) voidLeases() error {
	if _, err := t.exec("UPDATE work SET reap_at = 0 WHERE owner <> ''"); err != nil {
		return err
	}
	now, err := t.now()
	if err != nil {
		return err
	}
	return t.reap(now.UnixMicro())
}

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

// findHeads jumps from slot to slot through the index: its cost follows the
// number of slots, not of targets.
func (p *picker) findHeads(kind store.WorkKind) error {
	return p.t.each(func(r *dbsql.Rows) error {
		h := &head{kind: kind}
		if err := r.Scan(&h.slot, &h.class, &h.due); err != nil {
			return err
		}
		p.heads = append(p.heads, h)
		return nil
	}, `WITH RECURSIVE slots(slot) AS (
			SELECT (SELECT min(slot) FROM work WHERE kind = ? AND owner = '' AND due_at IS NOT NULL)
			UNION ALL
			SELECT (SELECT min(w.slot) FROM work w WHERE w.kind = ? AND w.owner = '' AND w.due_at IS NOT NULL AND w.slot > slots.slot)
			FROM slots WHERE slots.slot IS NOT NULL),
		heads AS (
			SELECT slots.slot, c.class, (SELECT min(w.due_at) FROM work w
				WHERE w.kind = ? AND w.slot = slots.slot AND w.class = c.class AND w.owner = '' AND w.due_at IS NOT NULL) AS due
			FROM slots CROSS JOIN (SELECT 0 AS class UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) c
			WHERE slots.slot IS NOT NULL)
		SELECT slot, class, due FROM heads WHERE due <= ?`, string(kind), string(kind), string(kind), p.now)
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

// lease writes the leases. All of one call share a token: tokens rise per
// key, and a key is leased once a call.
func (t *tx) lease(picked []workKey, o store.ClaimOptions, now int64) ([]store.Lease, error) {
	if len(picked) == 0 {
		return nil, nil
	}
	token, err := t.next("token", 1)
	if err != nil {
		return nil, err
	}
	until := now + o.Lease.Microseconds()
	place := make(map[workKey]int, len(picked))
	leases := make([]store.Lease, len(picked))
	observed := make([]int64, len(picked))
	for i, k := range picked {
		place[k] = i
		leases[i].Fence = store.Fence{Kind: k.kind, Key: k.key, Owner: o.Owner, Token: token}
		leases[i].Until = fromMicros(until)
	}
	groups := groupBy(picked, func(k workKey) (string, string) { return string(k.kind), k.key })
	err = t.in(groups, batch{
		head: `UPDATE work SET owner = ?, token = ?, lease_until = ?, reap_at = ?,
			run_class = class, class = 3, due_at = NULL, cancel_by = '' WHERE kind = ? AND key IN`,
		first: []any{o.Owner, token, until, until + max(o.Grace, 0).Microseconds()},
		tail:  " RETURNING kind, key, slot, run_class, generation, observed, attempts, payload",
		scan: func(r *dbsql.Rows) error {
			var k workKey
			var l store.Lease
			var seen int64
			var payload dbsql.NullString
			if err := r.Scan(&k.kind, &k.key, &l.Slot, &l.Class, &l.Generation, &seen, &l.Attempts, &payload); err != nil {
				return err
			}
			i := place[k]
			l.Fence, l.Until = leases[i].Fence, leases[i].Until
			if payload.Valid {
				l.Payload = json.RawMessage(payload.String)
			}
			leases[i], observed[i] = l, seen
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return leases, t.addTriggers(leases, observed)
}

// addTriggers gives each lease the triggers it answers. Generations have no
// gaps, so the oldest hundred are found by number.
func (t *tx) addTriggers(leases []store.Lease, observed []int64) error {
	for i := range leases {
		l := &leases[i]
		if l.Generation <= observed[i] {
			continue
		}
		err := t.each(func(r *dbsql.Rows) error {
			var tr store.TriggerRecord
			var at int64
			if err := r.Scan(&tr.Generation, &at, &tr.Class, &tr.Cause, &tr.Actor, &tr.Commit); err != nil {
				return err
			}
			tr.At = fromMicros(at)
			l.Triggers = append(l.Triggers, tr)
			return nil
		}, `SELECT generation, at, class, cause, actor, commit_id FROM triggers
			WHERE kind = ? AND key = ? AND generation > ? AND generation <= ? ORDER BY generation`,
			string(l.Kind), l.Key, observed[i], observed[i]+maxTriggers)
		if err != nil {
			return err
		}
	}
	return nil
}
