package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/store"
)

// Next gives when the next work is due, for the idle wait; zero is never.
// Work that was due at this process's last Claim is not counted: it waits
// for a free slot, and the Finish that frees one wakes the waiters.
func (d *DB) Next(ctx context.Context, kinds []store.WorkKind) (time.Time, error) {
	var next int64
	err := d.view(ctx, func(t *tx) error {
		next = 0
		for _, kind := range kinds {
			d.claimMu.Lock()
			after := d.lastClaim[kind]
			d.claimMu.Unlock()
			err := t.heads(kind, after, func(h *head) {
				if next == 0 || h.due < next {
					next = h.due
				}
			})
			if err != nil {
				return err
			}
		}
		var reap dbsql.NullInt64
		if err := t.get([]any{&reap}, "SELECT min(reap_at) FROM work WHERE owner <> ''"); err != nil {
			return err
		}
		if reap.Valid && (next == 0 || reap.Int64 < next) {
			next = reap.Int64
		}
		return nil
	})
	return fromMicros(next), err
}

// Work gives one row of the queue.
func (d *DB) Work(ctx context.Context, kind store.WorkKind, key string) (store.WorkItem, error) {
	w := store.WorkItem{Kind: kind, Key: key}
	err := d.view(ctx, func(t *tx) error {
		var due, until int64
		var cancel string
		var runClass store.Class
		err := t.get([]any{&w.Slot, &w.Class, &runClass, &w.Generation, &w.Observed, &due, &w.Attempts, &w.Owner, &until, &cancel},
			`SELECT slot, class, run_class, generation, observed, COALESCE(due_at, 0), attempts, owner, lease_until, cancel_by
			FROM work WHERE kind = ? AND key = ?`, string(kind), key)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s %s: %w", kind, key, err)
		}
		if w.Owner != "" {
			w.Class = runClass
		}
		w.DueAt, w.LeaseUntil, w.Cancel = fromMicros(due), fromMicros(until), cancel != ""
		return err
	})
	return w, err
}

// Depth counts the work that is due and not leased.
func (d *DB) Depth(ctx context.Context) (map[store.WorkKind]int, error) {
	depth := map[store.WorkKind]int{}
	err := d.view(ctx, func(t *tx) error {
		clear(depth)
		return t.each(func(r *dbsql.Rows) error {
			var kind store.WorkKind
			var n int
			err := r.Scan(&kind, &n)
			depth[kind] = n
			return err
		}, "SELECT kind, count(*) FROM work WHERE owner = '' AND due_at <= {now} GROUP BY kind")
	})
	return depth, err
}

// Cancel asks the holder of a lease to stop; it gives ErrNotFound when
// nobody holds one.
func (d *DB) Cancel(ctx context.Context, kind store.WorkKind, key string, by store.Actor) error {
	if by == "" {
		by = "system"
	}
	err := d.durable(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE work SET cancel_by = ? WHERE kind = ? AND key = ? AND owner <> ''", string(by), string(kind), key)
		if err == nil && n == 0 {
			return fmt.Errorf("%s %s is not running: %w", kind, key, store.ErrNotFound)
		}
		return errors.Join(err, t.notify())
	})
	if err == nil {
		d.wake.ring()
	}
	return err
}

// Cancelled tells the holder whether, and by whom, it was asked to stop.
func (d *DB) Cancelled(ctx context.Context, f store.Fence) (store.Actor, bool, error) {
	var by store.Actor
	err := d.view(ctx, func(t *tx) error {
		err := t.get([]any{&by}, "SELECT cancel_by FROM work WHERE kind = ? AND key = ? AND owner = ? AND token = ?",
			string(f.Kind), f.Key, f.Owner, f.Token)
		if errors.Is(err, store.ErrNotFound) {
			return fencedError(f)
		}
		return err
	})
	return by, by != "" && err == nil, err
}
