package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"time"

	"trueup.dev/trueup/internal/store"
)

// Renew extends leases; it returns those that were lost.
func (d *DB) Renew(ctx context.Context, lease time.Duration, fences ...store.Fence) ([]store.Fence, error) {
	if len(fences) == 0 {
		return nil, nil
	}
	kept := make(map[store.Fence]bool, len(fences))
	err := d.soon(ctx, func(t *tx) error {
		clear(kept)
		for _, f := range fences {
			// reap_at keeps its distance: the grace given at the claim.
			n, err := t.exec(`UPDATE work SET reap_at = reap_at - lease_until + {now} + ?, lease_until = {now} + ?
				WHERE kind = ? AND key = ? AND owner = ? AND token = ? AND owner <> ''`,
				lease.Microseconds(), lease.Microseconds(), string(f.Kind), f.Key, f.Owner, f.Token)
			if err != nil {
				return err
			}
			kept[f] = n > 0
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var lost []store.Fence
	for _, f := range fences {
		if !kept[f] {
			lost = append(lost, f)
		}
	}
	return lost, nil
}

// Finish gives a lease back.
func (d *DB) Finish(ctx context.Context, f store.Fence, done store.Finish) error {
	err := d.soon(ctx, func(t *tx) error { return t.finish(f, done) })
	if err == nil {
		d.wake.ring()
	}
	return err
}

func (t *tx) finish(f store.Fence, done store.Finish) error {
	if done.Remove && !done.Release {
		gone, err := t.remove(f, done.Observed)
		if gone || err != nil {
			return err
		}
	}
	var w leased
	err := t.get([]any{&w.generation, &w.observed, &w.due, &w.class, &w.runClass, &w.attempts},
		`SELECT generation, observed, due_at, class, run_class, attempts FROM work
		WHERE kind = ? AND key = ? AND owner = ? AND token = ? AND owner <> ''{update}`, string(f.Kind), f.Key, f.Owner, f.Token)
	if errors.Is(err, store.ErrNotFound) {
		return fencedError(f)
	}
	if err != nil {
		return err
	}
	now, err := t.now()
	if err != nil {
		return err
	}
	w.settle(done, now)
	_, err = t.exec(`UPDATE work SET owner = '', lease_until = 0, reap_at = 0, cancel_by = '', observed = ?, due_at = ?, class = ?, attempts = ?
		WHERE kind = ? AND key = ?`, w.observed, w.due, int(w.class), w.attempts, string(f.Kind), f.Key)
	if err == nil && w.due.Valid && w.due.Int64 <= now.UnixMicro() {
		err = t.notify()
	}
	return err
}

// remove deletes the work when no newer trigger came.
func (t *tx) remove(f store.Fence, observed int64) (bool, error) {
	n, err := t.exec("DELETE FROM work WHERE kind = ? AND key = ? AND owner = ? AND token = ? AND owner <> '' AND generation <= ?",
		string(f.Kind), f.Key, f.Owner, f.Token, observed)
	if n == 0 || err != nil {
		return false, err
	}
	_, err = t.exec("DELETE FROM triggers WHERE kind = ? AND key = ?", string(f.Kind), f.Key)
	return true, err
}

// leased is the part of a row that Finish decides on. due and class hold
// what triggers left there during the lease.
type leased struct {
	generation, observed int64
	due                  dbsql.NullInt64
	class, runClass      store.Class
	attempts             int
}

func (w *leased) settle(done store.Finish, now time.Time) {
	if done.Release {
		w.dueBy(now, w.runClass)
		return
	}
	w.observed = min(max(w.observed, done.Observed), w.generation)
	w.attempts++
	if done.RetryAfter <= 0 {
		w.attempts = 0
	}
	if w.generation > w.observed && !w.due.Valid {
		// The caller answered less than it leased.
		w.dueBy(now, w.runClass)
	}
	if done.RetryAfter > 0 {
		w.dueBy(now.Add(done.RetryAfter), store.ByRetry)
	}
	if !done.NextDue.IsZero() {
		w.dueBy(done.NextDue, store.ByClock)
	}
}

// dueBy makes the work due at the latest at a time; it is as urgent as the
// most urgent cause.
func (w *leased) dueBy(at time.Time, class store.Class) {
	if !w.due.Valid {
		w.class = class
		w.due = dbsql.NullInt64{Int64: at.UnixMicro(), Valid: true}
		return
	}
	w.class = min(w.class, class)
	w.due.Int64 = min(w.due.Int64, at.UnixMicro())
}
