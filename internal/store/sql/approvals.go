package sql

import (
	"context"
	"crypto/rand"
	dbsql "database/sql"
	"encoding/json"
	"maps"
	"slices"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// AddApproval keeps a decision. The store gives the time, and an id when
// there is none.
func (d *DB) AddApproval(ctx context.Context, a store.Approval) error {
	if a.ID == "" {
		a.ID = rand.Text()
	}
	return d.durable(ctx, func(t *tx) error {
		now, err := t.now()
		if err != nil {
			return err
		}
		a.At = now
		doc, err := encode(a)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO approvals (id, target, digest, plan_hash, at, doc) VALUES (?, ?, ?, ?, ?, ?)",
			a.ID, a.Target, a.Digest, a.PlanHash, micros(now), doc)
		if err != nil {
			return err
		}
		return t.recordApproval(a, doc)
	})
}

// Approvals gives the decisions on exactly this plan, oldest first.
func (d *DB) Approvals(ctx context.Context, target, digest, planHash string) ([]store.Approval, error) {
	var list []store.Approval
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var doc string
			var a store.Approval
			if err := r.Scan(&doc); err != nil {
				return err
			}
			err := json.Unmarshal([]byte(doc), &a)
			a.Target = target // it may have been renamed
			list = append(list, a)
			return err
		}, "SELECT doc FROM approvals WHERE target = ? AND digest = ? AND plan_hash = ? ORDER BY at, id", target, digest, planHash)
	})
	return list, err
}

// PutOutputs replaces a target's outputs and gives the names of those that
// changed, came or went.
func (d *DB) PutOutputs(ctx context.Context, f store.Fence, target string, o map[string]plan.Output) ([]string, error) {
	var changed []string
	err := d.fenced(ctx, f, func(t *tx) error {
		changed = nil
		old, err := t.outputs(target)
		if err != nil {
			return err
		}
		for name := range old {
			if _, ok := o[name]; ok {
				continue
			}
			changed = append(changed, name)
			if _, err := t.exec("DELETE FROM outputs WHERE target = ? AND name = ?", target, name); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o)) {
			if was, ok := old[name]; ok && sameOutput(was, o[name]) {
				continue
			}
			changed = append(changed, name)
			if err := t.putOutput(target, name, o[name]); err != nil {
				return err
			}
		}
		slices.Sort(changed)
		return nil
	})
	return changed, err
}

func sameOutput(a, b plan.Output) bool {
	if a.Sensitive != b.Sensitive || a.Unknown != b.Unknown {
		return false
	}
	x, errX := plan.Canonical(a.Value)
	y, errY := plan.Canonical(b.Value)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (t *tx) putOutput(target, name string, o plan.Output) error {
	sealed, err := t.d.sealOutputs("stored", map[string]plan.Output{name: o})
	if err != nil {
		return err
	}
	doc, err := encode(sealed[name])
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO outputs (target, name, doc) VALUES (?, ?, ?) ON CONFLICT (target, name) DO UPDATE SET doc = excluded.doc", target, name, doc)
	return err
}

func (t *tx) outputs(target string) (map[string]plan.Output, error) {
	out := map[string]plan.Output{}
	err := t.each(func(r *dbsql.Rows) error {
		var name, doc string
		var o plan.Output
		if err := r.Scan(&name, &doc); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(doc), &o)
		out[name] = o
		return err
	}, "SELECT name, doc FROM outputs WHERE target = ?", target)
	if err != nil {
		return nil, err
	}
	return t.d.openOutputs("stored", out)
}

// Outputs gives what a target gives to others.
func (d *DB) Outputs(ctx context.Context, target string) (map[string]plan.Output, error) {
	var out map[string]plan.Output
	err := d.view(ctx, func(t *tx) (err error) {
		out, err = t.outputs(target)
		return err
	})
	return out, err
}
