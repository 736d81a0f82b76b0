package sql

import (
	"context"
	dbsql "database/sql"
	"time"

	"trueup.dev/trueup/internal/store"
)

// retainStep is how many runs go in one transaction, so that others get
// their turn in between.
const retainStep = 200

// Retain drops runs with their plans, results and logs: those beyond a
// target's newest keepRuns, and those older than keep. A target's newest run
// and running ones stay. Events and answered triggers older than keep go, and
// blobs that no state names.
func (d *DB) Retain(ctx context.Context, keepRuns int, keep time.Duration) error {
	for {
		n, err := d.retainRuns(ctx, max(keepRuns, 1), keep)
		if err != nil {
			return err
		}
		if n < retainStep {
			break
		}
	}
	return d.soon(ctx, func(t *tx) error {
		statements := []string{
			"DELETE FROM pulls WHERE state <> 'open' AND at < {now} - ?",
			"DELETE FROM landings WHERE at < {now} - ?",
			"DELETE FROM sayings WHERE at < {now} - ?",
			`DELETE FROM triggers WHERE at < {now} - ? AND NOT EXISTS (SELECT 1 FROM work w
				WHERE w.kind = triggers.kind AND w.key = triggers.key AND w.observed < triggers.generation)`,
		}
		for _, s := range statements {
			if _, err := t.exec(s, keep.Microseconds()); err != nil {
				return err
			}
		}
		if err := t.retainEvents(keep); err != nil {
			return err
		}
		_, err := t.exec("DELETE FROM blobs WHERE at < {now} - ? AND NOT EXISTS (SELECT 1 FROM state_blobs s WHERE s.blob = blobs.id)", blobRest.Microseconds())
		return err
	})
}

func (d *DB) retainRuns(ctx context.Context, keepRuns int, keep time.Duration) (int, error) {
	var ids []string
	err := d.soon(ctx, func(t *tx) error {
		ids = nil
		err := t.each(func(r *dbsql.Rows) error {
			var id string
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		}, `SELECT id FROM (SELECT id, state, started, row_number() OVER (PARTITION BY target, CASE WHEN state = 'planned' THEN 1 ELSE 0 END ORDER BY id DESC) AS place FROM runs) numbered
			WHERE place > 1 AND state <> ? AND (place > ? OR started < {now} - ?) LIMIT ?`,
			string(store.RunActive), keepRuns, keep.Microseconds(), retainStep)
		if err != nil {
			return err
		}
		for _, table := range []string{"plan_chunks", "plans", "results", "logs"} {
			if err := t.dropIn(table, "run", ids); err != nil {
				return err
			}
		}
		return t.dropIn("runs", "id", ids)
	})
	return len(ids), err
}

func (t *tx) dropIn(table, column string, ids []string) error {
	return t.batch(len(ids), batch{
		head: "DELETE FROM " + table + " WHERE " + column + " IN (", tuple: "?", tail: ")",
		args: func(i int) []any { return []any{ids[i]} },
	})
}
