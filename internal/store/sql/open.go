// Package sql is the store over database/sql, on SQLite (the embedded
// default, one process) and on PostgreSQL (several replicas).
package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/store"
)

// Options says where the store is.
type Options struct {
	// URL is postgres://…, or "" for SQLite in Dir.
	URL string
	// Dir is the data directory. It is made when missing, mode 0700.
	Dir string
	// Clock replaces the database's clock, also inside SQL; for tests.
	Clock func() time.Time
	// EncryptionKey seals secrets at rest: 32 bytes. Without it a key file is
	// made in Dir. All replicas on one PostgreSQL need the same key.
	EncryptionKey []byte
	// OldKeys still decrypt what was sealed before the key was changed.
	OldKeys [][]byte
	// MaxConns bounds the connections to PostgreSQL; 0 means 8.
	MaxConns int
}

// DB is the store. It implements store.Store.
type DB struct {
	dialect *dialect
	clock   func() time.Time
	// write commits durably. quick, on SQLite, leaves the sync to the next
	// durable commit: for what may be lost when the power fails, in order.
	write, quick, read *dbsql.DB
	// turn lets one writer in at a time on SQLite; nil on PostgreSQL.
	turn  chan struct{}
	wake  *wakeups
	bells *bells
	keys  *keyring
	close []func() error
	// signer signs the record of what happened.
	signer atomic.Pointer[audit.Signer]

	claimMu   sync.Mutex
	lastClaim map[store.WorkKind]int64
}

var _ store.Store = (*DB)(nil)

// Open opens the store and brings its schema up to date.
func Open(ctx context.Context, o Options) (store.Store, error) {
	d, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return d, nil
}

func open(ctx context.Context, o Options) (*DB, error) {
	d := &DB{clock: o.Clock, wake: newWakeups(), bells: newBells(), lastClaim: map[store.WorkKind]int64{}}
	if err := d.start(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) start(ctx context.Context, o Options) error {
	connect := d.openSQLite
	if o.URL != "" {
		connect = d.openPostgres
	}
	if err := connect(ctx, o); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return mapError(err)
	}
	keys, err := openKeyring(o)
	if err != nil {
		return err
	}
	d.keys = keys
	if err := d.checkKey(ctx); err != nil {
		return err
	}
	if err := d.durable(ctx, func(t *tx) error { return t.loadSigner() }); err != nil {
		return err
	}
	if d.dialect == &sqlite {
		return d.voidLeases(ctx)
	}
	return nil
}

// Close lets the database and the data directory go.
func (d *DB) Close() error {
	var errs []error
	for i := len(d.close) - 1; i >= 0; i-- {
		errs = append(errs, d.close[i]())
	}
	d.close = nil
	return errors.Join(errs...)
}

// Now gives the store's clock.
func (d *DB) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := d.view(ctx, func(t *tx) (err error) {
		now, err = t.now()
		return err
	})
	return now, err
}
