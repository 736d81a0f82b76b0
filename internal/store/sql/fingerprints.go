package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// PutFingerprints replaces a target's fingerprints.
func (d *DB) PutFingerprints(ctx context.Context, f store.Fence, target, digest string, fp map[plan.Scope]store.Fingerprint) error {
	doc, err := encode(fp)
	if err != nil {
		return err
	}
	return d.change(ctx, d.quick, func(t *tx) error {
		if err := t.check(f); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO fingerprints (target, digest, doc) VALUES (?, ?, ?)
			ON CONFLICT (target) DO UPDATE SET digest = excluded.digest, doc = excluded.doc`, target, digest, doc)
		return err
	})
}

// Fingerprints gives a target's fingerprints, none when there are none.
func (d *DB) Fingerprints(ctx context.Context, target string) (string, map[plan.Scope]store.Fingerprint, error) {
	var digest, doc string
	err := d.view(ctx, func(t *tx) error {
		return t.get([]any{&digest, &doc}, "SELECT digest, doc FROM fingerprints WHERE target = ?", target)
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	var fp map[plan.Scope]store.Fingerprint
	return digest, fp, json.Unmarshal([]byte(doc), &fp)
}

// PutConfig keeps a configuration under the next number; the newest one
// again keeps its number.
func (d *DB) PutConfig(ctx context.Context, digest string, body []byte, by store.Actor) (int64, error) {
	var version int64
	err := d.durable(ctx, func(t *tx) error {
		if err := t.lock(lockConfig); err != nil {
			return err
		}
		newest, have, err := t.currentConfig()
		if err != nil {
			return err
		}
		if version = newest; newest > 0 && have == digest {
			return nil
		}
		version++
		_, err = t.exec("INSERT INTO configs (version, digest, actor, at, body) VALUES (?, ?, ?, {now}, ?)", version, digest, string(by), append([]byte{}, body...))
		return err
	})
	return version, err
}

func (t *tx) currentConfig() (version int64, digest string, err error) {
	err = t.get([]any{&version, &digest}, "SELECT version, digest FROM configs ORDER BY version DESC LIMIT 1")
	if errors.Is(err, store.ErrNotFound) {
		return 0, "", nil
	}
	return version, digest, err
}

// Config gives the configuration of a version.
func (d *DB) Config(ctx context.Context, version int64) ([]byte, error) {
	var body []byte
	err := d.view(ctx, func(t *tx) error {
		return t.get([]any{&body}, "SELECT body FROM configs WHERE version = ?", version)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("configuration %d: %w", version, err)
	}
	return body, err
}

// CurrentConfig gives the newest configuration's version, 0 before the first.
func (d *DB) CurrentConfig(ctx context.Context) (int64, string, error) {
	var version int64
	var digest string
	err := d.view(ctx, func(t *tx) (err error) {
		version, digest, err = t.currentConfig()
		return err
	})
	return version, digest, err
}
