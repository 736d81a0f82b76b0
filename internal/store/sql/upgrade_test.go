package sql_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	dbsql "database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// A store from before there was a chain goes on: its old events are counted,
// the new ones are chained.
func TestEventsFromBeforeTheChain(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir, nil)
	record(t, s)
	db, err := dbsql.Open("sqlite", "file:"+filepath.Join(dir, "trueup.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"UPDATE events SET hash = '', sig = ''", "UPDATE counters SET hash = '', at = 0"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	goesOn(t, s, 6)
}

func goesOn(t *testing.T, s store.Store, unchained int64) {
	t.Helper()
	if err := s.AddEvent(t.Context(), store.Event{Kind: "seven"}, store.Event{Kind: "eight"}); err != nil {
		t.Fatal(err)
	}
	r, err := s.VerifyAudit(t.Context())
	if err != nil || r.Broken != nil || r.Unchained != unchained || r.Events <= unchained || r.Runs != 1 {
		t.Fatalf("%+v %+v %v", r, r.Broken, err)
	}
	if err := s.Retain(t.Context(), 10, 0); err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, s); got != "" {
		t.Error(got)
	}
}

// A backup of a version without the chain is restored.
func TestBackupFromBeforeTheChain(t *testing.T) {
	s := openDir(t, t.TempDir(), nil)
	record(t, s)
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := sql.Restore(t.Context(), bytes.NewReader(older(t, b.Bytes())), sql.Options{Dir: dir, EncryptionKey: bytes.Repeat([]byte{7}, 32)}); err != nil {
		t.Fatal(err)
	}
	goesOn(t, openDir(t, dir, nil), 6)
}

// older takes from a backup what older versions did not write.
func older(t *testing.T, backup []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<24)
	var drop []int
	skip := false
	for lines.Scan() {
		var head struct {
			Table   string
			Columns []string
		}
		if lines.Bytes()[0] == '[' {
			if skip {
				continue
			}
			var row []json.RawMessage
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			for _, i := range slices.Backward(drop) {
				row = slices.Delete(row, i, i+1)
			}
			if err := enc.Encode(row); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
			t.Fatal(err)
		}
		drop, skip = nil, head.Table == "audit_anchor"
		if skip {
			continue
		}
		if head.Table != "events" && head.Table != "counters" {
			if _, err := w.Write(append(lines.Bytes(), '\n')); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var kept []string
		for i, c := range head.Columns {
			if c == "hash" || c == "sig" || c == "at" && head.Table == "counters" {
				drop = append(drop, i)
			} else {
				kept = append(kept, c)
			}
		}
		if err := enc.Encode(map[string]any{"table": head.Table, "columns": kept}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
