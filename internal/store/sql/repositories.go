package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

// Repository gives what was last seen of a repository.
func (d *DB) Repository(ctx context.Context, name string) (store.RepositoryState, error) {
	var r store.RepositoryState
	err := d.view(ctx, func(t *tx) error {
		var doc string
		var manifests dbsql.NullString
		err := t.get([]any{&doc, &manifests}, "SELECT doc, manifests FROM repositories WHERE name = ?", name)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("repository %s: %w", name, err)
		}
		if err != nil {
			return err
		}
		r, err = decodeRepository(doc, manifests)
		return err
	})
	return r, err
}

func decodeRepository(doc string, manifests dbsql.NullString) (store.RepositoryState, error) {
	var r store.RepositoryState
	if err := json.Unmarshal([]byte(doc), &r); err != nil || !manifests.Valid {
		return r, err
	}
	return r, json.Unmarshal([]byte(manifests.String), &r.Manifests)
}

// Repositories lists all repositories by name.
func (d *DB) Repositories(ctx context.Context) ([]store.RepositoryState, error) {
	var list []store.RepositoryState
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var doc string
			var manifests dbsql.NullString
			if err := r.Scan(&doc, &manifests); err != nil {
				return err
			}
			one, err := decodeRepository(doc, manifests)
			list = append(list, one)
			return err
		}, "SELECT doc, manifests FROM repositories ORDER BY name")
	})
	return list, err
}

// PutRepository keeps what was seen of a repository. Manifests of nil leaves
// the stored ones: a poll that brings nothing need not write them again.
func (d *DB) PutRepository(ctx context.Context, r store.RepositoryState) error {
	return d.soon(ctx, func(t *tx) error { return t.putRepository(r) })
}

func (t *tx) putRepository(r store.RepositoryState) error {
	var manifests any
	if r.Manifests != nil {
		text, err := encode(r.Manifests)
		if err != nil {
			return err
		}
		manifests = text
		r.Manifests = nil
	}
	doc, err := encode(r)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO repositories (name, doc, manifests) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, manifests = COALESCE(excluded.manifests, repositories.manifests)`,
		r.Name, doc, manifests)
	return err
}
