package sql

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/store"
)

// overdue is how late a drift check must be before it is moved.
const overdue = time.Minute

// SpreadDrift moves drift checks that have piled up. Their due times carry
// jitter in the microseconds, which spreads them.
func (d *DB) SpreadDrift(ctx context.Context, over time.Duration) (int64, error) {
	var n int64
	err := d.durable(ctx, func(t *tx) (err error) {
		n, err = t.exec(`UPDATE work SET due_at = {now} + due_at % ?
			WHERE kind = ? AND class = ? AND owner = '' AND due_at < {now} - ?`,
			max(over.Microseconds(), 1), string(store.Reconcile), int(store.ByClock), overdue.Microseconds())
		return err
	})
	return n, err
}
