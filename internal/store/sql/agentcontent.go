package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

func blobLabel(id, sum string) string { return "agent blob " + id + " " + sum }

// PutAgentBlob keeps content for the agent that has the request.
func (d *DB) PutAgentBlob(ctx context.Context, id, sum string, body []byte) error {
	key, sealed, err := d.keys.seal(blobLabel(id, sum), body)
	if err != nil {
		return err
	}
	return d.soon(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO agent_blobs (request, sum, key_id, body) VALUES (?, ?, ?, ?) ON CONFLICT (request, sum) DO NOTHING", id, sum, key, sealed)
		return err
	})
}

// AgentBlob gives content to the agent of the request's host.
func (d *DB) AgentBlob(ctx context.Context, host, id, sum string) ([]byte, error) {
	var body []byte
	err := d.view(ctx, func(t *tx) error {
		var state, key string
		var sealed []byte
		if err := t.requestState(host, id, &state); err != nil {
			return err
		}
		if err := t.get([]any{&key, &sealed}, "SELECT key_id, body FROM agent_blobs WHERE request = ? AND sum = ?", id, sum); err != nil {
			return fmt.Errorf("content %s of request %s: %w", sum, id, err)
		}
		var err error
		body, err = t.d.keys.open(key, blobLabel(id, sum), sealed)
		return err
	})
	return body, err
}

func correctionLabel(id string) string { return "agent correction " + id }

// maxCorrections bounds what is kept of one host until runs have recorded it:
// an agent keeps a thousand itself.
const maxCorrections = 1000

// AddCorrection keeps what an agent did alone, once. ErrConflict: too many wait.
func (d *DB) AddCorrection(ctx context.Context, c store.AgentCorrection) error {
	doc, err := json.Marshal(c)
	if err != nil {
		return err
	}
	key, sealed, err := d.keys.seal(correctionLabel(c.ID), doc)
	if err != nil {
		return err
	}
	return d.durable(ctx, func(t *tx) error {
		n, err := t.exec("INSERT INTO agent_corrections (id, host, target, at, key_id, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
			c.ID, c.Host, c.Target, micros(c.At), key, sealed)
		if err != nil || n == 0 {
			return err
		}
		var all int
		if err := t.get([]any{&all}, "SELECT COUNT(*) FROM agent_corrections WHERE host = ?", c.Host); err != nil {
			return err
		}
		if all > maxCorrections {
			return fmt.Errorf("%d corrections of %s wait for a run: %w", maxCorrections, c.Host, store.ErrConflict)
		}
		return nil
	})
}

// Corrections gives what agents did to a target and no run has recorded,
// oldest first.
func (d *DB) Corrections(ctx context.Context, target string) ([]store.AgentCorrection, error) {
	var list []store.AgentCorrection
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var id, key string
			var sealed []byte
			if err := r.Scan(&id, &key, &sealed); err != nil {
				return err
			}
			doc, err := d.keys.open(key, correctionLabel(id), sealed)
			if err != nil {
				return err
			}
			var c store.AgentCorrection
			err = json.Unmarshal(doc, &c)
			list = append(list, c)
			return err
		}, "SELECT id, key_id, body FROM agent_corrections WHERE target = ? ORDER BY at, id LIMIT 100", target)
	})
	return list, err
}

// DropCorrection forgets a correction that a run has recorded.
func (d *DB) DropCorrection(ctx context.Context, f store.Fence, id string) error {
	return d.fencedSoon(ctx, f, func(t *tx) error {
		_, err := t.exec("DELETE FROM agent_corrections WHERE id = ?", id)
		return err
	})
}
