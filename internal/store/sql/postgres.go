package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	channel = "trueup_work"
	// bellChannel carries the topics of Bell.
	bellChannel = "trueup_bell"
	idleConns   = 4
	// lockClaim is the advisory lock of Claim; claims on realms are locked
	// under lockRealm with a hash of the name.
	lockClaim  = 0x74727565
	lockRealm  = 0x7472756
	lockConfig = 0x74727566
)

func (d *DB) openPostgres(ctx context.Context, o Options) error {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return fmt.Errorf("database URL: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	if _, ok := config.RuntimeParams["application_name"]; !ok {
		config.RuntimeParams["application_name"] = "trueup"
	}
	d.dialect = &postgres
	db := stdlib.OpenDB(*config)
	conns := o.MaxConns
	if conns <= 0 {
		conns = 8
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(min(conns, idleConns))
	d.write, d.quick, d.read = db, db, db
	d.close = append(d.close, db.Close)
	if err := db.PingContext(ctx); err != nil {
		return mapError(err)
	}
	d.listen(config)
	return nil
}

// listen turns notifications of other processes into wake-ups. It is a hint:
// while its connection is away, waiting ends by time alone.
func (d *DB) listen(config *pgx.ConnConfig) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			d.listenOnce(ctx, config)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	d.close = append(d.close, func() error {
		cancel()
		<-done
		return nil
	})
}

func (d *DB) listenOnce(ctx context.Context, config *pgx.ConnConfig) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(closing) // it may be broken already
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel+"; LISTEN "+bellChannel); err != nil {
		return
	}
	d.wake.ring() // whatever came while nobody listened
	d.bells.ringAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return
		}
		if n.Channel == bellChannel {
			d.bells.ring(n.Payload)
			continue
		}
		d.wake.ring()
	}
}

// notify tells other processes, when the transaction commits.
func (t *tx) notify() error {
	if t.d.dialect != &postgres {
		return nil
	}
	_, err := t.exec("SELECT pg_notify('" + channel + "', '')")
	return err
}

// lock takes an advisory lock until the end of the transaction. On SQLite
// there is one writer anyway.
func (t *tx) lock(id int64) error {
	if t.d.dialect != &postgres {
		return nil
	}
	_, err := t.exec("SELECT pg_advisory_xact_lock(?)", id)
	return err
}

// lockName is lock for a name within a class of locks.
func (t *tx) lockName(class int32, name string) error {
	if t.d.dialect != &postgres {
		return nil
	}
	_, err := t.exec("SELECT pg_advisory_xact_lock(?, hashtext(?))", class, name)
	return err
}

// bulk is from how many rows on a write changes what the planner must know.
const bulk = 1000

// analyze refreshes PostgreSQL's statistics after a bulk write. Without it
// the first minute, until autovacuum comes by, reads whole tables. It only
// speeds up, so it may fail.
func (d *DB) analyze(ctx context.Context, rows int, tables ...string) {
	if d.dialect != &postgres || rows < bulk {
		return
	}
	for _, table := range tables {
		_, _ = d.write.ExecContext(ctx, "ANALYZE "+table)
	}
}
