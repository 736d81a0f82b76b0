package sql_test

import (
	dbsql "database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// tampering is what somebody with access to the database may try, and what
// the check of the record must answer. %s is the last event's own columns.
var tampering = map[string]struct{ sql, want string }{
	"nothing":              {"SELECT 1", ""},
	"change data":          {`UPDATE events SET data = '{"plan":"other"}' WHERE seq = 3`, "record 3: its hash"},
	"change the actor":     {"UPDATE events SET actor = 'user:eve' WHERE seq = 5", "record 5: its hash"},
	"change the time":      {"UPDATE events SET at = at + 1 WHERE seq = 4", "record 4: its hash"},
	"change the kind":      {"UPDATE events SET kind = 'other' WHERE seq = 1", "record 1: its hash"},
	"remove one":           {"DELETE FROM events WHERE seq = 4", "record 5: record 4, before it, is missing"},
	"remove several":       {"DELETE FROM events WHERE seq IN (3, 4)", "record 5: records 3 to 4, before it, are missing"},
	"remove the first":     {"DELETE FROM events WHERE seq = 1", "record 2: its hash does not fit"},
	"remove the last":      {"DELETE FROM events WHERE seq = 6", "record 6: it is missing"},
	"remove all":           {"DELETE FROM events", "record 1: it is missing, with all up to record 6"},
	"remove and close up":  {"DELETE FROM events WHERE seq = 4; UPDATE events SET seq = seq - 1 WHERE seq = 5; UPDATE events SET seq = seq - 1 WHERE seq = 6", "record 4: its hash"},
	"insert at the end":    {"INSERT INTO events (seq, at, actor, kind, target, run, hash, sig) SELECT 7, at, actor, kind, target, run, hash, sig FROM events WHERE seq = 6", "record 7: its hash"},
	"insert without hash":  {"INSERT INTO events (seq, at, actor, kind, target, run) VALUES (7, 1, 'user:eve', 'x', '', '')", "record 7: it has no hash"},
	"insert in front":      {"INSERT INTO events (seq, at, actor, kind, target, run) VALUES (0, 1, 'user:eve', 'x', '', '')", "record 0: it has no hash"},
	"reorder":              {"UPDATE events SET seq = 100 WHERE seq = 3; UPDATE events SET seq = 3 WHERE seq = 4; UPDATE events SET seq = 4 WHERE seq = 100", "record 3: its hash"},
	"take the hashes away": {"UPDATE events SET hash = '', sig = '' WHERE seq <= 3", "record 4: its hash"},
	"another signature":    {"UPDATE events SET sig = (SELECT sig FROM events WHERE seq = 1) WHERE seq = 2", "record 2: its signature"},
	"turn the number back": {"UPDATE counters SET value = 5 WHERE name = 'event'", "record 6: it is newer"},
	"pretend retention":    {"INSERT INTO audit_anchor (id, seq, at, hash, sig) SELECT 1, seq, at, hash, sig FROM events WHERE seq = 3; DELETE FROM events WHERE seq <= 3", "record 4: the chain begins here, but by its own record it begins behind 0"},
	"change a run":         {"UPDATE runs SET doc = replace(doc, 'succeeded', 'failed')", "run r1: it differs"},
	"change a run's state": {"UPDATE runs SET state = 'failed'", "run r1: its columns differ"},
	"insert a run":         {"INSERT INTO runs (id, target, environment, repository, state, started, finished, doc) SELECT 'r2', target, environment, repository, state, started, finished, doc FROM runs", "run r2: it is not in the record"},
	"give an approval":     {"INSERT INTO approvals (id, target, digest, plan_hash, at, doc) SELECT 'a2', target, digest, 'h2', at, doc FROM approvals", "approval a2: it is not in the record"},
	"bend an approval":     {"UPDATE approvals SET plan_hash = 'h2'", "approval a1: its columns differ"},
	"change an approval":   {"UPDATE approvals SET doc = replace(doc, 'user:bob', 'user:eve')", "approval a1: it differs"},
	"remove an approval":   {"DELETE FROM approvals", "approval a1: the record has it"},
}

// tamper tries everything on stores that open gives, with raw access.
func tamper(t *testing.T, open func(t *testing.T) (store.Store, func(statement string) error)) {
	for name, c := range tampering {
		t.Run(name, func(t *testing.T) {
			s, raw := open(t)
			record(t, s)
			for _, statement := range strings.Split(c.sql, "; ") {
				if err := raw(statement); err != nil {
					t.Fatal(err)
				}
			}
			if got := verdict(t, s); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("forge with another key", func(t *testing.T) { forge(t, open) })
}

func verdict(t *testing.T, s store.Store) string {
	t.Helper()
	r, err := s.VerifyAudit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Broken == nil {
		return ""
	}
	return r.Broken.What + ": " + r.Broken.Why
}

// record writes six events: two of them a run and an approval.
func record(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: "a", Slot: "s"}))
	l, err := s.Claim(ctx, store.ClaimOptions{Owner: "x", Kinds: []store.WorkKind{store.Reconcile}, Max: 1, Lease: 1 << 40, DefaultSlot: 10})
	must(err)
	must(s.AddEvent(ctx, store.Event{Kind: "one"}, store.Event{Kind: "two", Data: json.RawMessage(`{"plan":"this"}`)}))
	must(s.PutRun(ctx, l[0].Fence, store.Run{ID: "r1", Target: "a", Environment: "e", State: store.RunSucceeded}))
	must(s.AddApproval(ctx, store.Approval{ID: "a1", Target: "a", Digest: "d", PlanHash: "h", Approved: true, Actor: "user:bob"}))
	must(s.AddEvent(ctx, store.Event{Kind: "five", Actor: "user:ann"}, store.Event{Kind: "six"}))
}

// forge rewrites the whole chain from record 3 on, hashes and signatures, with
// a key of its own: everything fits together but the key.
func forge(t *testing.T, open func(t *testing.T) (store.Store, func(statement string) error)) {
	s, raw := open(t)
	record(t, s)
	events, err := s.Events(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	prev := events[1].Hash
	for _, e := range events[2:] {
		e.Actor = "user:somebody-else"
		if err := signer.Seal(prev, &e); err != nil {
			t.Fatal(err)
		}
		prev = e.Hash
		if err := raw(fmt.Sprintf("UPDATE events SET actor = 'user:somebody-else', hash = '%s', sig = '%s' WHERE seq = %d", e.Hash, e.Sig, e.Seq)); err != nil {
			t.Fatal(err)
		}
	}
	if got := verdict(t, s); got != "record 3: its signature is not that of this server's key" {
		t.Error(got)
	}
	// The server goes on from the forged end; the forgery stays visible.
	if err := s.AddEvent(t.Context(), store.Event{Kind: "seven"}); err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, s); got != "record 3: its signature is not that of this server's key" {
		t.Error(got)
	}
}

// Whoever removes the key cannot make the record fit the next one.
func TestAnotherKeyFitsNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := sql.Open(t.Context(), sql.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	record(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := dbsql.Open("sqlite", "file:"+filepath.Join(dir, "trueup.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM secret_keys WHERE name = 'audit'"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = sql.Open(t.Context(), sql.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	if got := verdict(t, s); !strings.HasPrefix(got, "record 1: its signature") {
		t.Error(got)
	}
}

func TestTamperingSQLite(t *testing.T) {
	tamper(t, func(t *testing.T) (store.Store, func(string) error) {
		dir := t.TempDir()
		s := openDir(t, dir, nil)
		db, err := dbsql.Open("sqlite", "file:"+filepath.Join(dir, "trueup.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return s, func(statement string) error {
			_, err := db.ExecContext(t.Context(), statement)
			return err
		}
	})
}
