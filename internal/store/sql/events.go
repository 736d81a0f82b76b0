package sql

import (
	"cmp"
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"

	"trueup.dev/trueup/internal/audit"
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

// addEvents chains events to the record. The counter's row stays locked until
// the commit, so that no other event comes between; it belongs at the end of a
// transaction.
func (t *tx) addEvents(events []store.Event) error {
	var seq, at, now int64
	var prev string
	err := t.get([]any{&seq, &prev, &at, &now}, "SELECT value, hash, at, {now} FROM counters WHERE name = 'event'{update}")
	if err != nil {
		return err
	}
	prev = cmp.Or(prev, audit.Genesis)
	when := audit.Later(fromMicros(now), fromMicros(at))
	sealed := make([]store.Event, len(events))
	for i, e := range events {
		seq++
		e.Seq, e.At, e.Actor = seq, when, store.Actor(text(string(e.Actor)))
		if err := t.d.signer.Load().Seal(prev, &e); err != nil {
			return err
		}
		prev, sealed[i] = e.Hash, e
	}
	counter := "UPDATE counters SET value = ?, hash = ?, at = ? WHERE name = 'event'"
	b := batch{
		head: "INSERT INTO events (seq, at, actor, kind, target, run, data, hash, sig) VALUES ", tuple: "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
		args: func(i int) []any {
			e := &sealed[i]
			return []any{e.Seq, micros(e.At), string(e.Actor), e.Kind, e.Target, e.Run, raw(e.Data), e.Hash, e.Sig}
		},
	}
	if t.d.dialect == &postgres {
		// One round trip less while the row is locked.
		b.head, b.first = "WITH c AS ("+counter+") "+b.head, []any{seq, prev, micros(when)}
	} else if _, err := t.exec(counter, seq, prev, micros(when)); err != nil {
		return err
	}
	return t.batch(len(sealed), b)
}

// Events gives up to limit events after a number.
func (d *DB) Events(ctx context.Context, after int64, limit int) ([]store.Event, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	var list []store.Event
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.eachEvent(func(e store.Event) bool {
			list = append(list, e)
			return true
		}, " WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	})
	return list, err
}

// eachEvent reads events as long as fn says so.
func (t *tx) eachEvent(fn func(store.Event) bool, rest string, args ...any) error {
	err := t.each(func(r *dbsql.Rows) error {
		var e store.Event
		var at int64
		var data dbsql.NullString
		if err := r.Scan(&e.Seq, &at, &e.Actor, &e.Kind, &e.Target, &e.Run, &data, &e.Hash, &e.Sig); err != nil {
			return err
		}
		e.At = fromMicros(at)
		if data.Valid {
			e.Data = json.RawMessage(data.String)
		}
		if !fn(e) {
			return errEnough
		}
		return nil
	}, "SELECT seq, at, actor, kind, target, run, data, hash, sig FROM events"+rest, args...)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends a reading.
var errEnough = errors.New("enough")

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
