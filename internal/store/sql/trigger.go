package sql

import (
	"cmp"
	"context"
	dbsql "database/sql"
	"slices"

	"trueup.dev/trueup/internal/store"
)

type workKey struct {
	kind store.WorkKind
	key  string
}

// merged is all triggers of one call for one piece of work.
type merged struct {
	workKey
	all []*store.Trigger
	// last is the newest generation, known after the write.
	last int64
}

// Trigger adds work or raises its generation.
func (d *DB) Trigger(ctx context.Context, triggers ...store.Trigger) error {
	if len(triggers) == 0 {
		return nil
	}
	err := d.durable(ctx, func(t *tx) error { return t.trigger(triggers) })
	if err == nil {
		d.analyze(ctx, len(triggers), "work", "triggers")
		d.wake.ring()
	}
	return err
}

// trigger is Trigger inside a transaction; the caller rings afterwards.
func (t *tx) trigger(triggers []store.Trigger) error {
	if len(triggers) == 0 {
		return nil
	}
	works := merge(triggers)
	if err := t.raise(works); err != nil {
		return err
	}
	if err := t.keepTriggers(works); err != nil {
		return err
	}
	return t.notify()
}

// merge groups triggers by their work, in one order for all callers, so that
// two of them never wait for each other.
func merge(triggers []store.Trigger) []*merged {
	byKey := make(map[workKey]*merged, len(triggers))
	works := make([]*merged, 0, len(triggers))
	for i := range triggers {
		k := workKey{triggers[i].Kind, triggers[i].Key}
		m := byKey[k]
		if m == nil {
			m = &merged{workKey: k}
			byKey[k] = m
			works = append(works, m)
		}
		m.all = append(m.all, &triggers[i])
	}
	slices.SortFunc(works, func(a, b *merged) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
	})
	return works
}

func (m *merged) args() []any {
	first := m.all[0]
	class, after := first.Class, first.After
	var payload any
	for _, tr := range m.all {
		class, after = min(class, tr.Class), min(after, tr.After)
		if tr.Payload != nil {
			payload = string(tr.Payload)
		}
	}
	slot := m.all[len(m.all)-1].Slot
	return []any{string(m.kind), m.key, slot, int(class), len(m.all), max(after, 0).Microseconds(), payload}
}

func (t *tx) raise(works []*merged) error {
	index := make(map[workKey]*merged, len(works))
	for _, m := range works {
		index[m.workKey] = m
	}
	// Idle work takes the trigger's class; work that waits keeps the more
	// urgent one and the earlier time. While leased, class and due_at gather
	// what is to come after the lease.
	return t.batch(len(works), batch{
		head:  "INSERT INTO work (kind, key, slot, class, generation, due_at, payload) VALUES ",
		tuple: "(?, ?, ?, ?, ?, {now} + ?, ?)",
		tail: ` ON CONFLICT (kind, key) DO UPDATE SET
			slot = excluded.slot,
			generation = work.generation + excluded.generation,
			class = CASE WHEN work.due_at IS NULL OR excluded.class < work.class THEN excluded.class ELSE work.class END,
			due_at = CASE WHEN work.due_at IS NULL OR excluded.due_at < work.due_at THEN excluded.due_at ELSE work.due_at END,
			payload = COALESCE(excluded.payload, work.payload)
			RETURNING kind, key, generation`,
		args: func(i int) []any { return works[i].args() },
		scan: func(r *dbsql.Rows) error {
			var k workKey
			var generation int64
			if err := r.Scan(&k.kind, &k.key, &generation); err != nil {
				return err
			}
			index[k].last = generation
			return nil
		},
	})
}

func (t *tx) keepTriggers(works []*merged) error {
	type row struct {
		m *merged
		i int
	}
	rows := make([]row, 0, len(works))
	for _, m := range works {
		for i := range m.all {
			rows = append(rows, row{m, i})
		}
	}
	return t.batch(len(rows), batch{
		head:  "INSERT INTO triggers (kind, key, generation, at, class, cause, actor, commit_id) VALUES ",
		tuple: "(?, ?, ?, {now}, ?, ?, ?, ?)",
		args: func(i int) []any {
			m, tr := rows[i].m, rows[i].m.all[rows[i].i]
			generation := m.last - int64(len(m.all)-1-rows[i].i)
			return []any{string(m.kind), m.key, generation, int(tr.Class), text(tr.Cause), text(string(tr.Actor)), tr.Commit}
		},
	})
}
