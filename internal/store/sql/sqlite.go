package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

const readers = 4

func (d *DB) openSQLite(ctx context.Context, o Options) error {
	if o.Dir == "" {
		return errors.New("neither a database nor a data directory is given")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return err
	}
	d.close = append(d.close, lock.Close)
	d.dialect = &sqlite
	if d.clock == nil {
		d.clock = time.Now
	}
	d.turn = make(chan struct{}, 1)
	path := filepath.Join(o.Dir, "trueup.db")
	if err := private(path); err != nil {
		return err
	}
	common := []string{"journal_mode(WAL)", "busy_timeout(10000)", "foreign_keys(1)", "temp_store(MEMORY)", "cache_size(-16000)"}
	// FULL is what makes a commit in WAL mode survive a power failure.
	d.write = d.sqlitePool(path, 1, "immediate", append(common, "synchronous(FULL)"))
	d.quick = d.sqlitePool(path, 1, "immediate", append(common, "synchronous(NORMAL)"))
	if err := d.write.PingContext(ctx); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	d.read = d.sqlitePool(path, readers, "deferred", append(common, "query_only(1)"))
	return nil
}

func (d *DB) sqlitePool(path string, conns int, lock string, pragmas []string) *dbsql.DB {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path) + "?" + q.Encode()
	// sql.Open fails only for a driver that is not registered.
	db, _ := dbsql.Open("sqlite", dsn)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	d.close = append(d.close, db.Close)
	return db
}

// private makes sure that the file exists and nobody else can read it.
// SQLite gives its side files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}
