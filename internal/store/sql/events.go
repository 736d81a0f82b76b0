package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"

	"trueup.dev/trueup/internal/store"
)

// AddEvent appends to the record. Number and time come from the store;
// numbers become visible in their order, so that a reader who asks for what
// comes after the last one misses none.
func (d *DB) AddEvent(ctx context.Context, events ...store.Event) error {
	if len(events) == 0 {
		return nil
	}
	return d.soon(ctx, func(t *tx) error { return t.addEvents(events) })
}

func (t *tx) addEvents(events []store.Event) error {
	first, err := t.next("event", len(events))
	if err != nil {
		return err
	}
	return t.batch(len(events), batch{
		head: "INSERT INTO events (seq, at, actor, kind, target, run, data) VALUES ", tuple: "(?, {now}, ?, ?, ?, ?, ?)",
		args: func(i int) []any {
			e := &events[i]
			return []any{first + int64(i), text(string(e.Actor)), e.Kind, e.Target, e.Run, raw(e.Data)}
		},
	})
}

// Events gives up to limit events after a number.
func (d *DB) Events(ctx context.Context, after int64, limit int) ([]store.Event, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	var list []store.Event
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var e store.Event
			var at int64
			var data dbsql.NullString
			if err := r.Scan(&e.Seq, &at, &e.Actor, &e.Kind, &e.Target, &e.Run, &data); err != nil {
				return err
			}
			e.At = fromMicros(at)
			if data.Valid {
				e.Data = json.RawMessage(data.String)
			}
			list = append(list, e)
			return nil
		}, "SELECT seq, at, actor, kind, target, run, data FROM events WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	})
	return list, err
}

// PutHold suspends; the store gives the time.
func (d *DB) PutHold(ctx context.Context, h store.Hold) error {
	return d.durable(ctx, func(t *tx) error { return t.putHold(h) })
}

func (t *tx) putHold(h store.Hold) error {
	now, err := t.now()
	if err != nil {
		return err
	}
	h.At = now
	doc, err := encode(h)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO holds (kind, key, doc) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc", h.Kind, h.Key, doc)
	return err
}

// DropHold lifts a suspension; it gives ErrNotFound when there is none.
func (d *DB) DropHold(ctx context.Context, kind, key string) error {
	return d.durable(ctx, func(t *tx) error {
		return t.one("hold "+kind+" "+key, "DELETE FROM holds WHERE kind = ? AND key = ?", kind, key)
	})
}

// Holds lists all suspensions and freezes.
func (d *DB) Holds(ctx context.Context) ([]store.Hold, error) {
	var list []store.Hold
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var doc string
			var h store.Hold
			if err := r.Scan(&doc); err != nil {
				return err
			}
			err := json.Unmarshal([]byte(doc), &h)
			list = append(list, h)
			return err
		}, "SELECT doc FROM holds ORDER BY kind, key")
	})
	return list, err
}
