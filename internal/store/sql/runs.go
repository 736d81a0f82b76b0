package sql

import (
	"bytes"
	"compress/gzip"
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// PutRun writes or overwrites the run under its fence. Times that are not
// set come from the store's clock.
func (d *DB) PutRun(ctx context.Context, f store.Fence, r store.Run) error {
	r.Error, r.Cause = text(r.Error), text(r.Cause)
	return d.fencedSoon(ctx, f, func(t *tx) error {
		if err := t.stamp(&r.Started); err != nil {
			return err
		}
		if r.State != store.RunActive {
			if err := t.stamp(&r.Finished); err != nil {
				return err
			}
		}
		doc, err := encode(r)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO runs (id, target, environment, repository, state, started, finished, doc)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET target = excluded.target, environment = excluded.environment,
			repository = excluded.repository, state = excluded.state, finished = excluded.finished, doc = excluded.doc`,
			r.ID, r.Target, r.Environment, r.Repository, string(r.State), micros(r.Started), micros(r.Finished), doc)
		if err != nil || r.State == store.RunActive {
			return err
		}
		return t.recordRun(r, doc)
	})
}

func scanRun(scan func(...any) error) (store.Run, error) {
	var r store.Run
	var target, doc string
	var started int64
	if err := scan(&target, &started, &doc); err != nil {
		return r, err
	}
	err := json.Unmarshal([]byte(doc), &r)
	r.Target, r.Started = target, fromMicros(started)
	return r, err
}

// Run gives one run.
func (d *DB) Run(ctx context.Context, id string) (store.Run, error) {
	var out store.Run
	err := d.view(ctx, func(t *tx) (err error) {
		out, err = scanRun(func(dest ...any) error {
			return t.get(dest, "SELECT target, started, doc FROM runs WHERE id = ?", id)
		})
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("run %s: %w", id, err)
		}
		return err
	})
	return out, err
}

// Runs lists runs, newest first.
func (d *DB) Runs(ctx context.Context, f store.RunFilter) ([]store.Run, string, error) {
	var w where
	w.equal("target", f.Target)
	w.equal("environment", f.Environment)
	w.equal("repository", f.Repository)
	switch f.State {
	case store.RunActive:
		w.add("state = 'running'") // in words: the index of the few that run serves no parameter
	case "":
		w.add("state <> 'planned'")
	default:
		w.equal("state", string(f.State))
	}
	if !f.Since.IsZero() {
		w.add("started >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("started < ?", micros(f.Until))
	}
	if f.After != "" {
		w.add("id < ?", f.After)
	}
	limit := pageLimit(f.Page)
	var list []store.Run
	err := d.view(ctx, func(t *tx) error {
		list = list[:0]
		return t.each(func(r *dbsql.Rows) error {
			one, err := scanRun(r.Scan)
			list = append(list, one)
			return err
		}, "SELECT target, started, doc FROM runs"+w.String()+" ORDER BY id DESC LIMIT ?", append(w.args, limit+1)...)
	})
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	list = list[:limit]
	return list, list[limit-1].ID, nil
}

// chunkResults is how many results share a row.
const chunkResults = 2000

// AddResults appends to a run's results.
func (d *DB) AddResults(ctx context.Context, f store.Fence, run string, results []plan.Result) error {
	if len(results) == 0 {
		return nil
	}
	var chunks [][]byte
	for at := 0; at < len(results); at += chunkResults {
		b, err := pack(results[at:min(at+chunkResults, len(results))])
		if err != nil {
			return err
		}
		chunks = append(chunks, b)
	}
	return d.fencedSoon(ctx, f, func(t *tx) error {
		for _, c := range chunks {
			_, err := t.exec("INSERT INTO results (run, seq, body) SELECT ?, COALESCE(max(seq), 0) + 1, ? FROM results WHERE run = ?", run, c, run)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Results gives a run's results in their order.
func (d *DB) Results(ctx context.Context, run string) ([]plan.Result, error) {
	var all []plan.Result
	err := d.view(ctx, func(t *tx) error {
		all = nil
		return t.each(func(r *dbsql.Rows) error {
			var body []byte
			var part []plan.Result
			if err := r.Scan(&body); err != nil {
				return err
			}
			err := unpack(body, &part)
			all = append(all, part...)
			return err
		}, "SELECT body FROM results WHERE run = ? ORDER BY seq", run)
	})
	return all, err
}

// pack gives compressed JSON.
func pack(v any) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(json.NewEncoder(z).Encode(v), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(body []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return json.NewDecoder(z).Decode(v)
}
