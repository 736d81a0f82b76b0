package sql

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

// belongings are the tables whose rows move with a target's id.
var belongings = []string{"inventory", "claims", "approvals", "outputs", "runs", "plans", "states", "state_blobs", "fingerprints", "scopes", "edits"}

// Rename moves everything that belongs to a target to a new id, when the new
// id owns nothing. It gives ErrConflict when it does, or while the target is
// being reconciled.
func (d *DB) Rename(ctx context.Context, from, to string) error {
	if from == to {
		return nil
	}
	return d.durable(ctx, func(t *tx) error {
		if err := t.mayRename(from, to); err != nil {
			return err
		}
		for _, table := range []string{"outputs", "fingerprints", "state_blobs", "states", "scopes", "edits"} {
			if _, err := t.exec("DELETE FROM "+table+" WHERE target = ?", to); err != nil {
				return err
			}
		}
		for _, table := range belongings {
			if _, err := t.exec("UPDATE "+table+" SET target = ? WHERE target = ?", to, from); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		if err := t.renameTarget(from, to); err != nil {
			return err
		}
		return t.renameWork(from, to)
	})
}

func (t *tx) mayRename(from, to string) error {
	var n int
	err := t.get([]any{&n}, `SELECT (SELECT count(*) FROM targets WHERE id = ?) +
		(SELECT count(*) FROM inventory WHERE target = ?) + (SELECT count(*) FROM claims WHERE target = ?)`, from, from, from)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("target %s: %w", from, store.ErrNotFound)
	}
	err = t.get([]any{&n}, `SELECT (SELECT count(*) FROM inventory WHERE target = ?) + (SELECT count(*) FROM claims WHERE target = ?)`, to, to)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%w: %s already owns something, %s can't become it", store.ErrConflict, to, from)
	}
	for _, id := range []string{from, to} {
		var owner string
		err := t.get([]any{&owner}, "SELECT owner FROM work WHERE kind = ? AND key = ?{update}", string(store.Reconcile), id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if owner != "" {
			return fmt.Errorf("%w: %s is being reconciled by %s", store.ErrConflict, id, owner)
		}
	}
	return nil
}

// renameTarget keeps the new definition, if it is there already, with the
// old one's status.
func (t *tx) renameTarget(from, to string) error {
	n, err := t.exec("UPDATE targets SET id = ? WHERE id = ? AND NOT EXISTS (SELECT 1 FROM targets WHERE id = ?)", to, from, to)
	if err != nil || n > 0 {
		return err
	}
	_, err = t.exec(`UPDATE targets SET claims_digest = '', status = o.status, phase = o.phase,
		desired = CASE WHEN o.desired_source IN ('pin', 'lock') THEN o.desired ELSE targets.desired END,
		desired_source = CASE WHEN o.desired_source IN ('pin', 'lock') THEN o.desired_source ELSE targets.desired_source END
		FROM (SELECT * FROM targets WHERE id = ?) o WHERE targets.id = ?`, from, to)
	if err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM targets WHERE id = ?", from)
	return err
}

func (t *tx) renameWork(from, to string) error {
	kind := string(store.Reconcile)
	n, err := t.exec("UPDATE work SET key = ? WHERE kind = ? AND key = ? AND NOT EXISTS (SELECT 1 FROM work WHERE kind = ? AND key = ?)",
		to, kind, from, kind, to)
	if err != nil {
		return err
	}
	if n > 0 {
		_, err = t.exec("UPDATE triggers SET key = ? WHERE kind = ? AND key = ?", to, kind, from)
		return err
	}
	if _, err := t.exec("DELETE FROM work WHERE kind = ? AND key = ?", kind, from); err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM triggers WHERE kind = ? AND key = ?", kind, from)
	return err
}
