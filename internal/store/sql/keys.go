package sql

import (
	"bytes"
	"context"
	"crypto/rand"
	dbsql "database/sql"
	"errors"
	"fmt"
	"strings"
)

const checkName = "check"

// checkKey makes sure that the given keys fit the database, so that two
// replicas never seal with different keys.
func (d *DB) checkKey(ctx context.Context) error {
	return d.durable(ctx, func(t *tx) error {
		fresh, err := d.keys.sealText("secret key "+checkName, []byte(checkName))
		if err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO secret_keys (name, sealed) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", checkName, fresh); err != nil {
			return err
		}
		var have string
		if err := t.get([]any{&have}, "SELECT sealed FROM secret_keys WHERE name = ?{update}", checkName); err != nil {
			return err
		}
		plain, err := d.keys.openText("secret key "+checkName, have)
		if err != nil {
			return fmt.Errorf("the encryption key does not fit this database: %w", err)
		}
		if !bytes.Equal(plain, []byte(checkName)) {
			return errors.New("the encryption key does not fit this database")
		}
		if id, _, _ := strings.Cut(have, ":"); id != d.keys.current {
			return t.reseal()
		}
		return nil
	})
}

// reseal seals all keys and outputs with the current key, so that the old one
// is needed for the artefacts of old plans alone.
func (t *tx) reseal() error {
	names := map[string]string{}
	err := t.each(func(r *dbsql.Rows) error {
		var name, sealed string
		err := r.Scan(&name, &sealed)
		names[name] = sealed
		return err
	}, "SELECT name, sealed FROM secret_keys")
	if err != nil {
		return err
	}
	for name, sealed := range names {
		plain, err := t.d.keys.openText("secret key "+name, sealed)
		if err != nil {
			return err
		}
		if sealed, err = t.d.keys.sealText("secret key "+name, plain); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE secret_keys SET sealed = ? WHERE name = ?", sealed, name); err != nil {
			return err
		}
	}
	return t.resealOutputs()
}

func (t *tx) resealOutputs() error {
	var targets []string
	err := t.each(func(r *dbsql.Rows) error {
		var target string
		err := r.Scan(&target)
		targets = append(targets, target)
		return err
	}, "SELECT DISTINCT target FROM outputs")
	if err != nil {
		return err
	}
	for _, target := range targets {
		all, err := t.outputs(target)
		if err != nil {
			return err
		}
		for name, o := range all {
			if err := t.putOutput(target, name, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// Key gives a named secret key of 32 bytes, made on first use.
func (d *DB) Key(ctx context.Context, name string) ([]byte, error) {
	var key []byte
	err := d.durable(ctx, func(t *tx) (err error) {
		key, err = t.key(name)
		return err
	})
	return key, err
}

func (t *tx) key(name string) ([]byte, error) {
	label := "secret key " + name
	made := make([]byte, keySize)
	if _, err := rand.Read(made); err != nil {
		return nil, err
	}
	sealed, err := t.d.keys.sealText(label, made)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec("INSERT INTO secret_keys (name, sealed) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, sealed); err != nil {
		return nil, err
	}
	if err := t.get([]any{&sealed}, "SELECT sealed FROM secret_keys WHERE name = ?", name); err != nil {
		return nil, err
	}
	return t.d.keys.openText(label, sealed)
}
