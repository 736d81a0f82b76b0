package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/store"
)

const targetColumns = "id, repository, manifest, name, environment, config, state, desired, status"

// PutTargets takes over a repository's targets in one transaction.
func (d *DB) PutTargets(ctx context.Context, r store.RepositoryState, put []store.Target, orphan []string, triggers []store.Trigger) error {
	err := d.durable(ctx, func(t *tx) error {
		if err := t.putTargets(put); err != nil {
			return err
		}
		err := t.batch(len(orphan), batch{
			head: "UPDATE targets SET state = ? WHERE state = ? AND repository = ? AND id IN (", tuple: "?", tail: ")",
			first: []any{string(store.Orphaned), string(store.Active), r.Name},
			args:  func(i int) []any { return []any{orphan[i]} },
		})
		if err != nil {
			return err
		}
		if err := t.putRepository(r); err != nil {
			return err
		}
		return t.trigger(triggers)
	})
	if err != nil {
		return err
	}
	d.analyze(ctx, len(put), "targets")
	if len(triggers) > 0 {
		d.analyze(ctx, len(triggers), "work", "triggers")
		d.wake.ring()
	}
	return nil
}

func (t *tx) putTargets(put []store.Target) error {
	rows := make([][]any, len(put))
	for i := range put {
		p := &put[i]
		if p.State == "" {
			p.State = store.Active
		}
		if p.Status.Phase == "" {
			p.Status.Phase = store.Pending
		}
		desired, err := encode(p.Desired)
		if err != nil {
			return err
		}
		status, err := encode(p.Status)
		if err != nil {
			return err
		}
		rows[i] = []any{p.ID, p.Repository, p.Manifest, p.Name, p.Environment, raw(p.Config), string(p.State),
			string(p.Status.Phase), desired, p.Desired.Source, status}
	}
	return t.batch(len(rows), batch{
		head:  "INSERT INTO targets (id, repository, manifest, name, environment, config, state, phase, desired, desired_source, status) VALUES ",
		tuple: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		tail: ` ON CONFLICT (id) DO UPDATE SET repository = excluded.repository, manifest = excluded.manifest,
			name = excluded.name, environment = excluded.environment, config = excluded.config, state = excluded.state,
			desired = CASE WHEN targets.desired_source IN ('pin', 'lock') OR excluded.desired_source = '' THEN targets.desired ELSE excluded.desired END,
			desired_source = CASE WHEN targets.desired_source IN ('pin', 'lock') OR excluded.desired_source = '' THEN targets.desired_source ELSE excluded.desired_source END`,
		args: func(i int) []any { return rows[i] },
	})
}

func scanTarget(scan func(...any) error) (store.Target, error) {
	var t store.Target
	var config dbsql.NullString
	var desired, status string
	if err := scan(&t.ID, &t.Repository, &t.Manifest, &t.Name, &t.Environment, &config, &t.State, &desired, &status); err != nil {
		return t, err
	}
	if config.Valid {
		t.Config = json.RawMessage(config.String)
	}
	return t, errors.Join(json.Unmarshal([]byte(desired), &t.Desired), json.Unmarshal([]byte(status), &t.Status))
}

// Target gives one target.
func (d *DB) Target(ctx context.Context, id string) (store.Target, error) {
	var out store.Target
	err := d.view(ctx, func(t *tx) (err error) {
		out, err = scanTarget(func(dest ...any) error {
			return t.get(dest, "SELECT "+targetColumns+" FROM targets WHERE id = ?", id)
		})
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("target %s: %w", id, err)
		}
		return err
	})
	return out, err
}

// where gathers the conditions of a filtered list.
type where struct {
	terms []string
	args  []any
}

func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

func (w *where) add(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.terms, " AND ")
}

const (
	defaultPage = 100
	maxPage     = 1000
)

func pageLimit(p store.Page) int {
	if p.Limit <= 0 {
		return defaultPage
	}
	return min(p.Limit, maxPage)
}

// Targets lists targets by id.
func (d *DB) Targets(ctx context.Context, f store.TargetFilter) ([]store.Target, string, error) {
	var w where
	w.equal("repository", f.Repository)
	w.equal("environment", f.Environment)
	w.equal("manifest", f.Manifest)
	w.equal("state", string(f.State))
	w.equal("phase", string(f.Phase))
	if f.After != "" {
		w.add("id > ?", f.After)
	}
	limit := pageLimit(f.Page)
	var list []store.Target
	err := d.view(ctx, func(t *tx) error {
		list = list[:0]
		return t.each(func(r *dbsql.Rows) error {
			one, err := scanTarget(r.Scan)
			list = append(list, one)
			return err
		}, "SELECT "+targetColumns+" FROM targets"+w.String()+" ORDER BY id LIMIT ?", append(w.args, limit+1)...)
	})
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	list = list[:limit]
	return list, list[limit-1].ID, nil
}

// SetDesired sets the one commit that is in force. A lock is not taken away
// from another: that is store.ErrConflict.
func (d *DB) SetDesired(ctx context.Context, id string, want store.Desired) error {
	return d.durable(ctx, func(t *tx) error {
		if err := t.stamp(&want.At); err != nil {
			return err
		}
		doc, err := encode(want)
		if err != nil {
			return err
		}
		if want.Source != "lock" {
			return t.one("target "+id, "UPDATE targets SET desired = ?, desired_source = ? WHERE id = ?", doc, want.Source, id)
		}
		return t.lockTarget(id, want, doc)
	})
}

// lockTarget makes a locked commit a target's desired one, unless the target is
// locked for somebody else.
func (t *tx) lockTarget(id string, want store.Desired, doc string) error {
	var was string
	if err := t.get([]any{&was}, "SELECT desired FROM targets WHERE id = ?", id); err != nil {
		return fmt.Errorf("target %s: %w", id, err)
	}
	var have store.Desired
	if err := json.Unmarshal([]byte(was), &have); err != nil {
		return fmt.Errorf("target %s: its desired state: %w", id, err)
	}
	if have.Source == "lock" && have.Lock != want.Lock {
		return fmt.Errorf("target %s is locked by %s: %w", id, have.Lock, store.ErrConflict)
	}
	n, err := t.exec("UPDATE targets SET desired = ?, desired_source = ? WHERE id = ? AND desired = ?", doc, want.Source, id, was)
	if err == nil && n == 0 {
		return fmt.Errorf("target %s was changed just now: %w", id, store.ErrConflict)
	}
	return err
}

// SetStatus sets what the last run left behind.
func (d *DB) SetStatus(ctx context.Context, f store.Fence, id string, s store.Status) error {
	doc, err := encode(s)
	if err != nil {
		return err
	}
	return d.fencedSoon(ctx, f, func(t *tx) error {
		return t.one("target "+id, "UPDATE targets SET status = ?, phase = ? WHERE id = ?", doc, string(s.Phase), id)
	})
}

// SetState says whether a target is reconciled. Retiring one gives up its
// claims.
func (d *DB) SetState(ctx context.Context, id string, s store.TargetState) error {
	return d.durable(ctx, func(t *tx) error {
		if err := t.one("target "+id, "UPDATE targets SET state = ? WHERE id = ?", string(s), id); err != nil {
			return err
		}
		if s != store.Retired {
			return nil
		}
		if _, err := t.exec("DELETE FROM claims WHERE target = ?", id); err != nil {
			return err
		}
		return t.forgetClaimsDigest(id)
	})
}

// CountTargets counts targets by phase.
func (d *DB) CountTargets(ctx context.Context) (map[store.Phase]int, error) {
	counts := map[store.Phase]int{}
	err := d.view(ctx, func(t *tx) error {
		clear(counts)
		return t.each(func(r *dbsql.Rows) error {
			var p store.Phase
			var n int
			err := r.Scan(&p, &n)
			counts[p] = n
			return err
		}, "SELECT phase, count(*) FROM targets WHERE state <> ? GROUP BY phase", string(store.Retired))
	})
	return counts, err
}
