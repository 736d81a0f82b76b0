package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"trueup.dev/trueup/internal/store"
)

// tx is one transaction.
type tx struct {
	ctx context.Context
	d   *DB
	c   *dbsql.Tx
}

const txAttempts = 8

// durable runs a transaction that is on disk when it returns.
func (d *DB) durable(ctx context.Context, fn func(t *tx) error) error {
	return d.change(ctx, d.write, fn)
}

// soon runs a transaction whose loss in a power failure does no harm: on
// SQLite the next durable one carries it to disk.
func (d *DB) soon(ctx context.Context, fn func(t *tx) error) error {
	return d.change(ctx, d.quick, fn)
}

// fenced is durable and first checks that the lease still holds. The lease's
// row stays locked, so that a takeover waits for the commit.
func (d *DB) fenced(ctx context.Context, f store.Fence, fn func(t *tx) error) error {
	return d.durable(ctx, func(t *tx) error {
		if err := t.check(f); err != nil {
			return err
		}
		return fn(t)
	})
}

// fencedSoon is fenced for what a power failure may take back: history,
// status, fingerprints. The inventory's journal is durable and carries it all
// to disk, in order.
func (d *DB) fencedSoon(ctx context.Context, f store.Fence, fn func(t *tx) error) error {
	return d.soon(ctx, func(t *tx) error {
		if err := t.check(f); err != nil {
			return err
		}
		return fn(t)
	})
}

// view runs a transaction that only reads.
func (d *DB) view(ctx context.Context, fn func(t *tx) error) error {
	return d.attempts(ctx, d.read, &dbsql.TxOptions{ReadOnly: d.dialect == &postgres}, fn)
}

func (d *DB) change(ctx context.Context, db *dbsql.DB, fn func(t *tx) error) error {
	if d.turn != nil {
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.attempts(ctx, db, nil, fn)
}

// attempts repeats a transaction that the database refused for the sake of
// another one. fn must start from nothing each time.
func (d *DB) attempts(ctx context.Context, db *dbsql.DB, o *dbsql.TxOptions, fn func(t *tx) error) error {
	for i := 1; ; i++ {
		err := d.once(ctx, db, o, fn)
		if err == nil || i == txAttempts || !isRetryable(err) {
			return mapError(err)
		}
		pause := time.Duration(1+rand.IntN(1<<min(i, 6))) * time.Millisecond
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *DB) once(ctx context.Context, db *dbsql.DB, o *dbsql.TxOptions, fn func(t *tx) error) error {
	c, err := db.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	if err := fn(&tx{ctx: ctx, d: d, c: c}); err != nil {
		if back := c.Rollback(); back != nil && !errors.Is(back, dbsql.ErrTxDone) {
			return errors.Join(err, back)
		}
		return err
	}
	return c.Commit()
}

func (t *tx) bind(query string, args []any) (string, []any) {
	r := t.d.dialect.rebind(query, t.d.clock != nil)
	return r.query, r.arguments(args, t.d.clock)
}

// exec runs a statement and gives the number of rows it touched.
func (t *tx) exec(query string, args ...any) (int64, error) {
	q, args := t.bind(query, args)
	res, err := t.c.ExecContext(t.ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// get reads one row; it gives store.ErrNotFound when there is none.
func (t *tx) get(dest []any, query string, args ...any) error {
	q, args := t.bind(query, args)
	err := t.c.QueryRowContext(t.ctx, q, args...).Scan(dest...)
	if errors.Is(err, dbsql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// each calls fn for every row.
func (t *tx) each(fn func(r *dbsql.Rows) error, query string, args ...any) error {
	q, args := t.bind(query, args)
	rows, err := t.c.QueryContext(t.ctx, q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (t *tx) now() (time.Time, error) {
	if t.d.clock != nil {
		return t.d.clock().UTC(), nil
	}
	var us int64
	err := t.get([]any{&us}, "SELECT {now}")
	return fromMicros(us), err
}

// check locks the lease's row and compares owner and token.
func (t *tx) check(f store.Fence) error {
	var token int64
	err := t.get([]any{&token}, "SELECT token FROM work WHERE kind = ? AND key = ? AND owner = ? AND token = ?{share}",
		string(f.Kind), f.Key, f.Owner, f.Token)
	if errors.Is(err, store.ErrNotFound) || f.Owner == "" {
		return fencedError(f)
	}
	return err
}

func fencedError(f store.Fence) error {
	return fmt.Errorf("%s %s, token %d: %w", f.Kind, f.Key, f.Token, store.ErrFenced)
}

// next raises a counter by n and gives its first new value. The row stays
// locked until the commit, so values become visible in their order.
func (t *tx) next(name string, n int) (int64, error) {
	var v int64
	err := t.get([]any{&v}, "UPDATE counters SET value = value + ? WHERE name = ? RETURNING value", n, name)
	return v - int64(n) + 1, err
}

// one runs a statement that must touch a row; what names it in the error.
func (t *tx) one(what, query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", what, store.ErrNotFound)
	}
	return err
}

// stamp fills in a time that is not set.
func (t *tx) stamp(at *time.Time) error {
	if !at.IsZero() {
		return nil
	}
	now, err := t.now()
	*at = now
	return err
}
