package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

const ownedColumns = "scope, address, kind, class, weight, realm, hash, last_applied, source, mark"

// ownedScan reads inventory rows; the words that repeat in every row are
// kept once.
type ownedScan struct {
	seen map[string]string

	scope, address, kind, class, realm, hash, applied, source, mark dbsql.RawBytes
	weight                                                          int
}

func (s *ownedScan) dest() []any {
	return []any{&s.scope, &s.address, &s.kind, &s.class, &s.weight, &s.realm, &s.hash, &s.applied, &s.source, &s.mark}
}

func (s *ownedScan) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if v, ok := s.seen[string(b)]; ok {
		return v
	}
	if s.seen == nil {
		s.seen = map[string]string{}
	}
	v := string(b)
	s.seen[v] = v
	return v
}

func (s *ownedScan) owned() driver.Owned {
	o := driver.Owned{
		Key:  plan.Key{Scope: plan.Scope(s.intern(s.scope)), Address: plan.Address(s.address)},
		Kind: s.intern(s.kind), Class: s.intern(s.class), Weight: s.weight, Realm: s.intern(s.realm),
		Hash: string(s.hash), Pending: len(s.mark) > 0, Source: s.readSource(),
	}
	if len(s.applied) > 0 {
		o.LastApplied = json.RawMessage(append([]byte(nil), s.applied...))
	}
	return o
}

// sourceText keeps a place as line:column:file.
func sourceText(s plan.Source) string {
	if s == (plan.Source{}) {
		return ""
	}
	return strconv.Itoa(s.Line) + ":" + strconv.Itoa(s.Column) + ":" + text(s.File)
}

func (s *ownedScan) readSource() plan.Source {
	line, rest, _ := strings.Cut(string(s.source), ":")
	column, file, ok := strings.Cut(rest, ":")
	if !ok {
		return plan.Source{}
	}
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(column)
	return plan.Source{File: s.intern([]byte(file)), Line: l, Column: c}
}

// Owned gives all that a target owns.
func (d *DB) Owned(ctx context.Context, target string) (driver.Inventory, error) {
	var inv driver.Inventory
	err := d.view(ctx, func(t *tx) error {
		var n int
		if err := t.get([]any{&n}, "SELECT count(*) FROM inventory WHERE target = ?", target); err != nil {
			return err
		}
		inv = make(driver.Inventory, n)
		var s ownedScan
		dest := s.dest()
		return t.each(func(r *dbsql.Rows) error {
			if err := r.Scan(dest...); err != nil {
				return err
			}
			o := s.owned()
			inv[o.Key] = o
			return nil
		}, "SELECT "+ownedColumns+" FROM inventory WHERE target = ?", target)
	})
	return inv, err
}

// WhoOwns finds the owners of an address in an environment.
func (d *DB) WhoOwns(ctx context.Context, environment string, address plan.Address) ([]store.OwnedBy, error) {
	var owners []store.OwnedBy
	err := d.view(ctx, func(t *tx) error {
		owners = nil
		var s ownedScan
		var by store.OwnedBy
		dest := append(s.dest(), &by.Target, &by.Run)
		return t.each(func(r *dbsql.Rows) error {
			if err := r.Scan(dest...); err != nil {
				return err
			}
			by.Owned = s.owned()
			owners = append(owners, by)
			return nil
		}, "SELECT "+prefixed("i.", ownedColumns)+", i.target, i.run FROM inventory i JOIN targets t ON t.id = i.target WHERE i.address = ? AND t.environment = ? ORDER BY i.target, i.scope",
			string(address), environment)
	})
	return owners, err
}

func prefixed(prefix, columns string) string {
	return prefix + strings.ReplaceAll(columns, ", ", ", "+prefix)
}

// MarkPending marks addresses as about to be written. A mark that an earlier
// run left, whose outcome is not known, stays.
func (d *DB) MarkPending(ctx context.Context, f store.Fence, target, run string, realm map[plan.Scope]string, keys []plan.Key) error {
	return d.fenced(ctx, f, func(t *tx) error {
		keys := distinct(keys)
		return t.batch(len(keys), batch{
			head:  "INSERT INTO inventory (target, scope, address, realm, mark, fresh) VALUES ",
			tuple: "(?, ?, ?, ?, ?, 1)",
			tail: ` ON CONFLICT (target, scope, address) DO UPDATE SET
				mark = CASE WHEN inventory.mark = '' THEN excluded.mark ELSE inventory.mark END`,
			args: func(i int) []any {
				return []any{target, string(keys[i].Scope), string(keys[i].Address), realm[keys[i].Scope], run}
			},
		})
	})
}

func distinct(keys []plan.Key) []plan.Key {
	seen := make(map[plan.Key]struct{}, len(keys))
	out := make([]plan.Key, 0, len(keys))
	for _, k := range keys {
		if _, ok := seen[k]; !ok {
			seen[k] = struct{}{}
			out = append(out, k)
		}
	}
	return out
}
