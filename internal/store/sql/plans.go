package sql

import (
	"bytes"
	"compress/gzip"
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// chunkSize bounds a row of a plan.
const chunkSize = 1 << 20

const (
	partPlan     = "plan"
	partArtefact = "artefact"
)

// PutPlan keeps a run's plan: compressed JSON in chunks, the artefact and
// sensitive outputs encrypted.
func (d *DB) PutPlan(ctx context.Context, f store.Fence, run, hash string, p *plan.Plan) error {
	sealed, err := d.sealPlan(run, p)
	if err != nil {
		return err
	}
	return d.fencedSoon(ctx, f, func(t *tx) error {
		if _, err := t.exec("DELETE FROM plan_chunks WHERE run = ?", run); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO plans (run, target, hash, at, key_id) VALUES (?, ?, ?, {now}, ?)
			ON CONFLICT (run) DO UPDATE SET target = excluded.target, hash = excluded.hash, at = excluded.at, key_id = excluded.key_id`,
			run, p.Target, hash, sealed.key)
		if err != nil {
			return err
		}
		if err := t.putChunks(run, partPlan, sealed.body); err != nil {
			return err
		}
		return t.putChunks(run, partArtefact, sealed.artefact)
	})
}

type sealedPlan struct {
	key            string
	body, artefact []byte
}

func (d *DB) sealPlan(run string, p *plan.Plan) (s sealedPlan, err error) {
	head := *p
	head.Changes, head.Artefact = nil, nil
	if head.Outputs, err = d.sealOutputs("plan "+run, p.Outputs); err != nil {
		return s, err
	}
	if len(p.Artefact) > 0 {
		if s.key, s.artefact, err = d.keys.seal("artefact "+run, p.Artefact); err != nil {
			return s, err
		}
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	enc := json.NewEncoder(z)
	err = enc.Encode(&head)
	for i := range p.Changes {
		err = errors.Join(err, enc.Encode(&p.Changes[i]))
	}
	err = errors.Join(err, z.Close())
	s.body = b.Bytes()
	return s, err
}

func (t *tx) putChunks(run, part string, body []byte) error {
	for seq := 0; len(body) > 0; seq++ {
		n := min(len(body), chunkSize)
		if _, err := t.exec("INSERT INTO plan_chunks (run, part, seq, body) VALUES (?, ?, ?, ?)", run, part, seq, body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// Plan gives a run's plan and its hash.
func (d *DB) Plan(ctx context.Context, run string) (*plan.Plan, string, error) {
	return d.plan(ctx, "plan of run "+run, "SELECT run, target, hash, key_id FROM plans WHERE run = ?", run)
}

// PlanByHash gives the newest plan of a target with that hash, and its run.
func (d *DB) PlanByHash(ctx context.Context, target, hash string) (*plan.Plan, string, error) {
	var run string
	err := d.view(ctx, func(t *tx) error {
		return t.get([]any{&run}, "SELECT run FROM plans WHERE target = ? AND hash = ? ORDER BY at DESC, run DESC LIMIT 1", target, hash)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", fmt.Errorf("plan %s of %s: %w", hash, target, err)
	}
	if err != nil {
		return nil, "", err
	}
	p, _, err := d.Plan(ctx, run)
	return p, run, err
}

func (d *DB) plan(ctx context.Context, what, query string, args ...any) (*plan.Plan, string, error) {
	var run, target, hash, key string
	var body, artefact bytes.Buffer
	err := d.view(ctx, func(t *tx) error {
		body.Reset()
		artefact.Reset()
		if err := t.get([]any{&run, &target, &hash, &key}, query, args...); err != nil {
			return err
		}
		return t.each(func(r *dbsql.Rows) error {
			var part string
			var chunk dbsql.RawBytes
			if err := r.Scan(&part, &chunk); err != nil {
				return err
			}
			if part == partArtefact {
				artefact.Write(chunk)
			} else {
				body.Write(chunk)
			}
			return nil
		}, "SELECT part, body FROM plan_chunks WHERE run = ? ORDER BY part, seq", run)
	})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", what, err)
	}
	p, err := decodePlan(&body)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", what, err)
	}
	p.Target = target
	if artefact.Len() > 0 {
		if p.Artefact, err = d.keys.open(key, "artefact "+run, artefact.Bytes()); err != nil {
			return nil, "", err
		}
	}
	p.Outputs, err = d.openOutputs("plan "+run, p.Outputs)
	return p, hash, err
}

func decodePlan(r io.Reader) (*plan.Plan, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(z)
	p := &plan.Plan{}
	if err := dec.Decode(p); err != nil {
		return nil, err
	}
	for {
		var c plan.Change
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return p, nil
		} else if err != nil {
			return nil, err
		}
		p.Changes = append(p.Changes, c)
	}
}

// sealOutputs encrypts the sensitive values of a copy.
func (d *DB) sealOutputs(place string, o map[string]plan.Output) (map[string]plan.Output, error) {
	out := maps.Clone(o)
	for name, v := range out {
		if !v.Sensitive || len(v.Value) == 0 {
			continue
		}
		sealed, err := d.keys.sealText(place+" output "+name, v.Value)
		if err != nil {
			return nil, err
		}
		if v.Value, err = json.Marshal(sealed); err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func (d *DB) openOutputs(place string, o map[string]plan.Output) (map[string]plan.Output, error) {
	for name, v := range o {
		if !v.Sensitive || len(v.Value) == 0 {
			continue
		}
		var sealed string
		if err := json.Unmarshal(v.Value, &sealed); err != nil {
			return nil, err
		}
		plain, err := d.keys.openText(place+" output "+name, sealed)
		if err != nil {
			return nil, err
		}
		v.Value = plain
		o[name] = v
	}
	return o, nil
}
