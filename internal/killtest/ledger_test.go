//go:build real

package killtest

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the tables are read past the store
	_ "modernc.org/sqlite"

	"trueup.dev/trueup/internal/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// ledger reads the store's tables, past the store and past its locks.
type ledger struct {
	t  *testing.T
	db *sql.DB
}

func sqliteLedger(t *testing.T, dataDir string) *ledger {
	return openLedger(t, "sqlite", "file:"+filepath.Join(dataDir, "trueup.db")+"?mode=ro&_pragma=busy_timeout(5000)")
}

func openLedger(t *testing.T, driver, dsn string) *ledger {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &ledger{t: t, db: db}
}

// entry is a target with its work.
type entry struct {
	ID                   string
	Desired              store.Desired
	Status               store.Status
	Owner                string
	Generation, Observed int64
}

// idle tells that nobody works on the target and nothing was asked for since.
func (e entry) idle() bool { return e.Owner == "" && e.Generation == e.Observed }

func (l *ledger) targets() []entry {
	l.t.Helper()
	var out []entry
	l.rows("SELECT t.id, t.desired, t.status, w.owner, w.generation, w.observed FROM targets t JOIN work w ON w.kind = 'reconcile' AND w.key = t.id ORDER BY t.id",
		func(scan func(...any) error) error {
			var e entry
			var desired, status string
			if err := scan(&e.ID, &desired, &status, &e.Owner, &e.Generation, &e.Observed); err != nil {
				return err
			}
			out = append(out, e)
			last := &out[len(out)-1]
			if err := json.Unmarshal([]byte(desired), &last.Desired); err != nil {
				return err
			}
			return json.Unmarshal([]byte(status), &last.Status)
		})
	return out
}

// runs gives all runs, oldest first. The columns count where they are.
func (l *ledger) runs() []store.Run {
	l.t.Helper()
	var out []store.Run
	l.rows("SELECT target, state, doc FROM runs ORDER BY id", func(scan func(...any) error) error {
		var r store.Run
		var target, state, doc string
		if err := scan(&target, &state, &doc); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return err
		}
		if r.Target != target || string(r.State) != state {
			l.t.Errorf("run %s says %s %s, its columns %s %s", r.ID, r.Target, r.State, target, state)
		}
		out = append(out, r)
		return nil
	})
	return out
}

// number runs a query whose answer is a number.
func (l *ledger) number(query string) int {
	l.t.Helper()
	var n int
	l.rows(query, func(scan func(...any) error) error { return scan(&n) })
	return n
}

func (l *ledger) rows(query string, each func(scan func(...any) error) error) {
	l.t.Helper()
	rows, err := l.db.Query(query)
	if err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			l.t.Fatalf("%s: %v", query, err)
		}
	}
	if err := rows.Err(); err != nil {
		l.t.Fatalf("%s: %v", query, err)
	}
}
