package sql

import (
	"context"
	dbsql "database/sql"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// unresolved is the mark of a write whose outcome is not known. No run has
// this id, so no run's failure takes it away.
const unresolved = "?"

// journal sorts results by what they do to the inventory. The last result
// of an address counts.
type journal struct {
	owned    []*plan.Result
	gone     []plan.Key
	unmarked []plan.Key
	unknown  []plan.Key
}

func sortResults(results []plan.Result) journal {
	last := make(map[plan.Key]int, len(results))
	for i := range results {
		last[results[i].Key] = i
	}
	var j journal
	for i := range results {
		r := &results[i]
		if last[r.Key] == i {
			j.add(r)
		}
		if r.Action != plan.Rename || r.From == "" {
			continue
		}
		from := plan.Key{Scope: r.Scope, Address: r.From}
		if _, again := last[from]; !again {
			j.addFrom(r.Outcome, from)
		}
	}
	return j
}

func (j *journal) add(r *plan.Result) {
	switch r.Outcome {
	case plan.Applied:
		if r.Action == plan.Delete || r.Action == plan.Forget {
			j.gone = append(j.gone, r.Key)
		} else {
			j.owned = append(j.owned, r)
		}
	case plan.Unknown:
		j.unknown = append(j.unknown, r.Key)
	default:
		j.unmarked = append(j.unmarked, r.Key)
	}
}

// addFrom is for the old address of a rename.
func (j *journal) addFrom(o plan.Outcome, from plan.Key) {
	switch o {
	case plan.Applied:
		j.gone = append(j.gone, from)
	case plan.Unknown:
		j.unknown = append(j.unknown, from)
	default:
		j.unmarked = append(j.unmarked, from)
	}
}

// Record takes in results.
func (d *DB) Record(ctx context.Context, f store.Fence, target, run string, realm map[plan.Scope]string, results []plan.Result) error {
	j := sortResults(results)
	return d.fenced(ctx, f, func(t *tx) error {
		if err := t.recordOwned(target, run, realm, j.owned); err != nil {
			return err
		}
		if err := t.recordGone(target, j.gone); err != nil {
			return err
		}
		if err := t.recordUnknown(target, realm, j.unknown); err != nil {
			return err
		}
		return t.unmark(target, run, j.unmarked)
	})
}

func (t *tx) recordOwned(target, run string, realm map[plan.Scope]string, owned []*plan.Result) error {
	return t.batch(len(owned), batch{
		head:  "INSERT INTO inventory (target, scope, address, kind, class, weight, realm, hash, last_applied, source, run) VALUES ",
		tuple: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		tail: ` ON CONFLICT (target, scope, address) DO UPDATE SET kind = excluded.kind, class = excluded.class, weight = excluded.weight,
			realm = CASE WHEN excluded.realm = '' THEN inventory.realm ELSE excluded.realm END,
			hash = excluded.hash, last_applied = COALESCE(excluded.last_applied, inventory.last_applied),
			source = excluded.source, run = excluded.run, mark = '', fresh = 0`,
		args: func(i int) []any {
			r := owned[i]
			return []any{target, string(r.Scope), string(r.Address), r.Kind, r.Class, r.Weight, realm[r.Scope], r.Hash, raw(r.LastApplied), sourceText(r.Source), run}
		},
	})
}

func byScope(keys []plan.Key) []group {
	return groupBy(keys, func(k plan.Key) (string, string) { return string(k.Scope), string(k.Address) })
}

// recordGone removes entries, and the claims on them.
func (t *tx) recordGone(target string, keys []plan.Key) error {
	if len(keys) == 0 {
		return nil
	}
	var claims []claim
	err := t.in(byScope(keys), batch{
		head:  "SELECT realm, address FROM inventory WHERE target = ? AND scope = ? AND address IN",
		first: []any{target},
		scan: func(r *dbsql.Rows) error {
			var c claim
			err := r.Scan(&c.realm, &c.address)
			claims = append(claims, c)
			return err
		},
	})
	if err != nil {
		return err
	}
	err = t.in(byRealm(claims), batch{
		head:  "DELETE FROM claims WHERE target = ? AND prefix = 0 AND realm = ? AND address IN",
		first: []any{target},
	})
	if err != nil {
		return err
	}
	if err := t.forgetClaimsDigest(target); err != nil {
		return err
	}
	return t.in(byScope(keys), batch{
		head:  "DELETE FROM inventory WHERE target = ? AND scope = ? AND address IN",
		first: []any{target},
	})
}

// recordUnknown keeps the marks of writes that may have happened, and makes
// those that were never set.
func (t *tx) recordUnknown(target string, realm map[plan.Scope]string, keys []plan.Key) error {
	return t.batch(len(keys), batch{
		head:  "INSERT INTO inventory (target, scope, address, realm, mark, fresh) VALUES ",
		tuple: "(?, ?, ?, ?, '" + unresolved + "', 1)",
		tail:  " ON CONFLICT (target, scope, address) DO UPDATE SET mark = excluded.mark",
		args: func(i int) []any {
			return []any{target, string(keys[i].Scope), string(keys[i].Address), realm[keys[i].Scope]}
		},
	})
}

// unmark takes back this run's marks of writes that did not happen. An entry
// that only the mark had made goes.
func (t *tx) unmark(target, run string, keys []plan.Key) error {
	if len(keys) == 0 {
		return nil
	}
	err := t.in(byScope(keys), batch{
		head:  "DELETE FROM inventory WHERE target = ? AND mark = ? AND fresh = 1 AND scope = ? AND address IN",
		first: []any{target, run},
	})
	if err != nil {
		return err
	}
	return t.in(byScope(keys), batch{
		head:  "UPDATE inventory SET mark = '' WHERE target = ? AND mark = ? AND scope = ? AND address IN",
		first: []any{target, run},
	})
}
