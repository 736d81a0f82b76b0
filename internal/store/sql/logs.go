package sql

import (
	"context"
	dbsql "database/sql"

	"trueup.dev/trueup/internal/store"
)

// AddLog appends to a run's log. Lines without a number get the next ones;
// a line that is there already is not written twice.
func (d *DB) AddLog(ctx context.Context, run string, lines []store.LogLine) error {
	if len(lines) == 0 {
		return nil
	}
	return d.soon(ctx, func(t *tx) error {
		now, err := t.now()
		if err != nil {
			return err
		}
		var last int64
		if err := t.get([]any{&last}, "SELECT COALESCE(max(seq), 0) FROM logs WHERE run = ?", run); err != nil {
			return err
		}
		rows := make([][]any, len(lines))
		for i, l := range lines {
			if l.Seq == 0 {
				l.Seq = last + 1
			}
			last = max(last, l.Seq)
			if l.At.IsZero() {
				l.At = now
			}
			rows[i] = []any{run, l.Seq, micros(l.At), text(l.Text)}
		}
		return t.batch(len(rows), batch{
			head: "INSERT INTO logs (run, seq, at, text) VALUES ", tuple: "(?, ?, ?, ?)", tail: " ON CONFLICT (run, seq) DO NOTHING",
			args: func(i int) []any { return rows[i] },
		})
	})
}

// maxLog is how many lines one call gives at most.
const maxLog = 10000

// Log gives a run's lines after a number.
func (d *DB) Log(ctx context.Context, run string, after int64) ([]store.LogLine, error) {
	var lines []store.LogLine
	err := d.view(ctx, func(t *tx) error {
		lines = nil
		return t.each(func(r *dbsql.Rows) error {
			var l store.LogLine
			var at int64
			err := r.Scan(&l.Seq, &at, &l.Text)
			l.At = fromMicros(at)
			lines = append(lines, l)
			return err
		}, "SELECT seq, at, text FROM logs WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?", run, after, maxLog)
	})
	return lines, err
}
