package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
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
