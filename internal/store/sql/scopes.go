package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// PutScopes writes the states of some of a target's scopes. What a rollout is
// about to do is written here before it does it.
func (d *DB) PutScopes(ctx context.Context, f store.Fence, target string, put []store.ScopeState, drop []plan.Scope) error {
	docs := make([]string, len(put))
	for i := range put {
		s := put[i]
		s.Message = text(s.Message)
		doc, err := encode(s)
		if err != nil {
			return err
		}
		docs[i] = doc
	}
	return d.fenced(ctx, f, func(t *tx) error {
		err := t.batch(len(put), batch{
			head:  "INSERT INTO scopes (target, scope, commit_id, doc) VALUES ",
			tuple: "(?, ?, ?, ?)",
			tail:  " ON CONFLICT (target, scope) DO UPDATE SET commit_id = excluded.commit_id, doc = excluded.doc",
			args:  func(i int) []any { return []any{target, string(put[i].Scope), put[i].Commit, docs[i]} },
		})
		if err != nil {
			return err
		}
		return t.batch(len(drop), batch{
			head: "DELETE FROM scopes WHERE target = ? AND scope IN (", tuple: "?", tail: ")",
			first: []any{target},
			args:  func(i int) []any { return []any{string(drop[i])} },
		})
	})
}

// Scopes gives the states of a target's scopes, by name.
func (d *DB) Scopes(ctx context.Context, target string) ([]store.ScopeState, error) {
	var out []store.ScopeState
	err := d.view(ctx, func(t *tx) error {
		out = nil
		return t.each(func(r *dbsql.Rows) error {
			var doc string
			if err := r.Scan(&doc); err != nil {
				return err
			}
			var s store.ScopeState
			err := json.Unmarshal([]byte(doc), &s)
			out = append(out, s)
			return err
		}, "SELECT doc FROM scopes WHERE target = ? ORDER BY scope", target)
	})
	return out, err
}
