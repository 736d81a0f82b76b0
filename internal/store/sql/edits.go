package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

// PutEdit writes or overwrites an edit.
func (d *DB) PutEdit(ctx context.Context, f store.Fence, e store.Edit) error {
	return d.fenced(ctx, f, func(t *tx) error {
		if err := t.stamp(&e.At); err != nil {
			return err
		}
		e.Error = text(e.Error)
		doc, err := encode(e)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO edits (kind, target, repository, at, doc) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (kind, target) DO UPDATE SET repository = excluded.repository, at = excluded.at, doc = excluded.doc`,
			string(e.Kind), e.Target, e.Repository, micros(e.At), doc)
		return err
	})
}

// DropEdit forgets an edit; a missing one is no error.
func (d *DB) DropEdit(ctx context.Context, f store.Fence, kind store.EditKind, target string) error {
	return d.fenced(ctx, f, func(t *tx) error {
		_, err := t.exec("DELETE FROM edits WHERE kind = ? AND target = ?", string(kind), target)
		return err
	})
}

// Edit gives one edit.
func (d *DB) Edit(ctx context.Context, kind store.EditKind, target string) (store.Edit, error) {
	var e store.Edit
	err := d.view(ctx, func(t *tx) error {
		var doc, at string
		if err := t.get([]any{&at, &doc}, "SELECT target, doc FROM edits WHERE kind = ? AND target = ?", string(kind), target); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(doc), &e)
		e.Target = at // a target may have another id by now
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return e, fmt.Errorf("%s of %s: %w", kind, target, err)
	}
	return e, err
}

// Edits lists edits.
func (d *DB) Edits(ctx context.Context, repository string) ([]store.Edit, error) {
	var out []store.Edit
	err := d.view(ctx, func(t *tx) error {
		out = nil
		return t.each(func(r *dbsql.Rows) error {
			var doc, at string
			if err := r.Scan(&at, &doc); err != nil {
				return err
			}
			var e store.Edit
			err := json.Unmarshal([]byte(doc), &e)
			e.Target = at
			out = append(out, e)
			return err
		}, "SELECT target, doc FROM edits WHERE repository = ? OR ? = '' ORDER BY kind, target", repository, repository)
	})
	return out, err
}
