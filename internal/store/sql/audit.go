package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/store"
)

// loadSigner takes the key that signs the record, made on first use.
func (t *tx) loadSigner() error {
	seed, err := t.key("audit")
	if err != nil {
		return err
	}
	s, err := audit.NewSigner(seed)
	if err == nil {
		t.d.signer.Store(s)
	}
	return err
}

// AuditKey gives the public key of the record.
func (d *DB) AuditKey(context.Context) (string, error) { return d.signer.Load().Public().String(), nil }

// SignAudit signs a text with the key of the record.
func (d *DB) SignAudit(_ context.Context, text string) (string, error) {
	return d.signer.Load().Sign(text), nil
}

// AuditAnchor gives the last event that was dropped.
func (d *DB) AuditAnchor(ctx context.Context) (store.AuditAnchor, error) {
	var a store.AuditAnchor
	err := d.view(ctx, func(t *tx) (err error) {
		a, err = t.anchor()
		return err
	})
	return a, err
}

func (t *tx) anchor() (store.AuditAnchor, error) {
	var a store.AuditAnchor
	var at int64
	err := t.get([]any{&a.Seq, &at, &a.Hash, &a.Sig}, "SELECT seq, at, hash, sig FROM audit_anchor WHERE id = 1")
	if errors.Is(err, store.ErrNotFound) {
		return store.AuditAnchor{}, nil
	}
	a.At = fromMicros(at)
	return a, err
}

// recordRun chains a run as it ended.
func (t *tx) recordRun(r store.Run, doc string) error {
	record, err := audit.RecordDigest([]byte(doc))
	if err != nil {
		return err
	}
	r.Detail = nil
	data, err := json.Marshal(audit.RunData{Record: record, Run: r})
	if err != nil {
		return err
	}
	actor := r.Actor
	if r.State == store.RunAbandoned {
		actor = "system:takeover" // whoever goes on says so, not whoever began
	}
	return t.addEvents([]store.Event{{Actor: actor, Kind: audit.RunFinished, Target: r.Target, Run: r.ID, Data: data}})
}

// recordApproval chains a decision.
func (t *tx) recordApproval(a store.Approval, doc string) error {
	record, err := audit.RecordDigest([]byte(doc))
	if err != nil {
		return err
	}
	var environment string
	err = t.get([]any{&environment}, "SELECT environment FROM targets WHERE id = ?", a.Target)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	data, err := json.Marshal(audit.ApprovalData{Record: record, Environment: environment, Approval: a})
	if err != nil {
		return err
	}
	kind := audit.Approval
	if !a.Approved {
		kind = audit.Rejection
	}
	return t.addEvents([]store.Event{{Actor: a.Actor, Kind: kind, Target: a.Target, Run: a.Run, Data: data}})
}

// retainEvents drops events older than keep. The last of them becomes the
// anchor, and an event says so.
func (t *tx) retainEvents(keep time.Duration) error {
	var a store.AuditAnchor
	var at int64
	err := t.get([]any{&a.Seq, &at, &a.Hash, &a.Sig}, "SELECT seq, at, hash, sig FROM events WHERE at < {now} - ? ORDER BY at DESC, seq DESC LIMIT 1", keep.Microseconds())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := t.exec("DELETE FROM events WHERE seq <= ?", a.Seq)
	if err != nil {
		return err
	}
	if a.Hash == "" { // from before there was a chain
		a.Hash, a.Sig = audit.Genesis, t.d.signer.Load().Sign(audit.Genesis)
	}
	_, err = t.exec(`INSERT INTO audit_anchor (id, seq, at, hash, sig) VALUES (1, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, at = excluded.at, hash = excluded.hash, sig = excluded.sig`, a.Seq, at, a.Hash, a.Sig)
	if err != nil {
		return err
	}
	data, err := json.Marshal(audit.RetainedData{Seq: a.Seq, Hash: a.Hash, Dropped: n})
	if err != nil {
		return err
	}
	return t.addEvents([]store.Event{{Actor: "system:retention", Kind: audit.Retained, Data: data}})
}

// VerifyAudit checks the whole chain, and runs and approvals against it, in
// one consistent view.
func (d *DB) VerifyAudit(ctx context.Context) (store.AuditReport, error) {
	var out store.AuditReport
	options := &dbsql.TxOptions{}
	if d.dialect == &postgres {
		options = &dbsql.TxOptions{ReadOnly: true, Isolation: dbsql.LevelRepeatableRead}
	}
	err := d.once(ctx, d.read, options, func(t *tx) (err error) {
		out, err = t.verifyAudit()
		return err
	})
	out.Key = d.signer.Load().Public().String()
	return out, mapError(err)
}

func (t *tx) verifyAudit() (store.AuditReport, error) {
	anchor, err := t.anchor()
	if err != nil {
		return store.AuditReport{}, err
	}
	c := audit.NewChecker(t.d.signer.Load().Public(), anchor)
	seen := &recorded{runs: map[string]string{}, approvals: map[string]string{}}
	if err := t.eachEvent(func(e store.Event) bool {
		seen.take(e)
		return c.Add(e)
	}, " ORDER BY seq"); err != nil {
		return store.AuditReport{}, err
	}
	var newest int64
	if err := t.get([]any{&newest}, "SELECT value FROM counters WHERE name = 'event'"); err != nil {
		return store.AuditReport{}, err
	}
	report := c.End(newest)
	if report.Broken != nil {
		return report, nil
	}
	seen.since = anchor.At
	if seen.began.After(seen.since) {
		seen.since = seen.began
	}
	// Rows have the clock of the process that wrote them.
	if !seen.since.IsZero() {
		seen.since = seen.since.Add(clockSkew)
	}
	if err := t.verifyRuns(&report, seen); err != nil || report.Broken != nil {
		return report, err
	}
	return report, t.verifyApprovals(&report, seen)
}

// clockSkew is how far the clocks of processes and database may be apart.
const clockSkew = 10 * time.Minute

// recorded is what the chain says of rows.
type recorded struct {
	runs, approvals map[string]string // id to digest
	since           time.Time         // rows from before are not in the chain
	began           time.Time         // of the chained events
}

func (s *recorded) take(e store.Event) {
	if e.Hash == "" {
		s.began = e.At
		return
	}
	var row struct{ Record, ID string }
	switch e.Kind {
	case audit.RunFinished:
		if json.Unmarshal(e.Data, &row) == nil {
			s.runs[e.Run] = row.Record
		}
	case audit.Approval, audit.Rejection:
		if json.Unmarshal(e.Data, &row) == nil {
			s.approvals[row.ID] = row.Record
		}
	}
}

// differs says how a row differs from what the chain says of it.
func (s *recorded) differs(said map[string]string, id, doc string, at time.Time) (string, error) {
	want, ok := said[id]
	if !ok {
		if at.After(s.since) {
			return "it is not in the record: it was not written by trueup", nil
		}
		return "", nil
	}
	have, err := audit.RecordDigest([]byte(doc))
	if err != nil || have != want {
		return "it differs from what the record says: it was changed", nil //nolint:nilerr // unreadable is changed
	}
	return "", nil
}

func (t *tx) verifyRuns(report *store.AuditReport, seen *recorded) error {
	return t.each(func(r *dbsql.Rows) error {
		var id, doc, state, environment string
		var finished int64
		if err := r.Scan(&id, &doc, &state, &environment, &finished); err != nil {
			return err
		}
		report.Runs++
		why, err := seen.differs(seen.runs, id, doc, fromMicros(finished))
		if err != nil || why != "" {
			return broken(report, "run "+id, why, err)
		}
		var run store.Run
		if err := json.Unmarshal([]byte(doc), &run); err != nil || string(run.State) != state || run.Environment != environment {
			return broken(report, "run "+id, "its columns differ from its document: it was changed", nil)
		}
		return nil
	}, "SELECT id, doc, state, environment, finished FROM runs WHERE state <> ? ORDER BY id", string(store.RunActive))
}

func (t *tx) verifyApprovals(report *store.AuditReport, seen *recorded) error {
	err := t.each(func(r *dbsql.Rows) error {
		var id, doc, digest, hash string
		var at int64
		if err := r.Scan(&id, &doc, &digest, &hash, &at); err != nil {
			return err
		}
		report.Approvals++
		why, err := seen.differs(seen.approvals, id, doc, fromMicros(at))
		delete(seen.approvals, id)
		if err != nil || why != "" {
			return broken(report, "approval "+id, why, err)
		}
		var a store.Approval
		if err := json.Unmarshal([]byte(doc), &a); err != nil || a.Digest != digest || a.PlanHash != hash {
			return broken(report, "approval "+id, "its columns differ from its document: it was changed", nil)
		}
		return nil
	}, "SELECT id, doc, digest, plan_hash, at FROM approvals ORDER BY at, id")
	if err != nil || report.Broken != nil {
		return err
	}
	for id := range seen.approvals {
		return broken(report, "approval "+id, "the record has it and the store no longer does: it was removed", nil)
	}
	return nil
}

// broken notes the first break; later ones are not looked at.
func broken(report *store.AuditReport, what, why string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if report.Broken == nil {
		report.Broken = &store.AuditBreak{What: what, Why: why}
	}
	return nil
}
