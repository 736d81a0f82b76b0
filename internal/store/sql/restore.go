package sql

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/store"
)

// Restore fills an empty store from a backup, all or nothing. Leases end, and
// a hold "restore" is left, so that nothing is applied until a person has
// looked: the world went on since the backup.
func Restore(ctx context.Context, r io.Reader, o Options) error {
	if err := restore(ctx, r, o); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func restore(ctx context.Context, r io.Reader, o Options) (err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("this is not a backup: %w", err)
	}
	d, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	dec := json.NewDecoder(bufio.NewReaderSize(z, 1<<16))
	// Integers stay integers.
	dec.UseNumber()
	return mapError(d.alone(ctx, func(t *tx) error {
		if err := t.mustBeEmpty(); err != nil {
			return err
		}
		l := &loader{t: t, dec: dec}
		at, err := l.load()
		if err != nil {
			return err
		}
		return t.afterRestore(at)
	}))
}

// alone is one durable transaction that is not repeated: its input is read
// only once.
func (d *DB) alone(ctx context.Context, fn func(t *tx) error) error {
	if d.turn != nil {
		d.turn <- struct{}{}
		defer func() { <-d.turn }()
	}
	return d.once(ctx, d.write, nil, fn)
}

// mustBeEmpty refuses a store that is in use, then clears what opening it
// has written.
func (t *tx) mustBeEmpty() error {
	for _, tb := range tables {
		if tb.Name == "counters" || tb.Name == "secret_keys" {
			if _, err := t.exec("DELETE FROM " + tb.Name); err != nil {
				return err
			}
			continue
		}
		var n int
		if err := t.get([]any{&n}, "SELECT count(*) FROM (SELECT 1 FROM "+tb.Name+" LIMIT 1) x"); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w: the store is not empty (%s)", store.ErrConflict, tb.Name)
		}
	}
	return nil
}

func (t *tx) afterRestore(at string) error {
	if err := t.voidLeases(); err != nil {
		return err
	}
	// Stores of before and after the backup must not give the same tokens.
	if _, err := t.exec("UPDATE counters SET value = value + 1000000 WHERE name = 'token'"); err != nil {
		return err
	}
	var sealed string
	if err := t.get([]any{&sealed}, "SELECT sealed FROM secret_keys WHERE name = ?", checkName); err != nil {
		return fmt.Errorf("the backup names no encryption key: %w", err)
	}
	if _, err := t.d.keys.openText("secret key "+checkName, sealed); err != nil {
		return fmt.Errorf("the backup's encryption key is needed: %w", err)
	}
	if err := t.loadSigner(); err != nil {
		return err
	}
	hold := store.Hold{Kind: "restore", Reason: "restored from the backup of " + at + ": look at the plans, then confirm", Actor: "system:restore"}
	if err := t.putHold(hold); err != nil {
		return err
	}
	return t.addEvents([]store.Event{{Actor: "system:restore", Kind: "store.restored"}})
}

// loader reads the lines of a backup.
type loader struct {
	t     *tx
	dec   *json.Decoder
	table *table
	rows  [][]any
	size  int
	count int64
}

// load reads to the last line and gives the time of the backup.
func (l *loader) load() (string, error) {
	var head backupHead
	if err := l.dec.Decode(&head); err != nil || head.Trueup != "backup" {
		return "", errors.Join(errors.New("this is not a backup"), err)
	}
	if head.Format > backupFormat {
		return "", fmt.Errorf("the backup has format %d, this version of trueup reads up to %d: use a newer trueup", head.Format, backupFormat)
	}
	for {
		var line json.RawMessage
		if err := l.dec.Decode(&line); err != nil {
			return "", fmt.Errorf("the backup is cut short: %w", err)
		}
		end, err := l.line(line)
		if end || err != nil {
			return head.At.Format("2006-01-02 15:04:05 MST"), err
		}
	}
}

func (l *loader) line(line json.RawMessage) (end bool, err error) {
	if line[0] == '[' {
		return false, l.row(line)
	}
	if err := l.flush(); err != nil {
		return false, err
	}
	var what struct {
		table
		backupEnd
	}
	if err := json.Unmarshal(line, &what); err != nil {
		return false, err
	}
	if what.End {
		if what.Rows != l.count {
			return false, fmt.Errorf("the backup says %d rows and has %d", what.Rows, l.count)
		}
		return true, nil
	}
	l.table = nil
	for i := range tables {
		if tables[i].Name == what.Name {
			l.table = &tables[i]
		}
	}
	if l.table == nil {
		return false, fmt.Errorf("the backup has a table %q that this version does not know", what.Name)
	}
	// A backup of an older version lacks what came later; that has defaults.
	for _, c := range what.Columns {
		if !slices.Contains(l.table.Columns, c) {
			return false, fmt.Errorf("the backup's table %s has a column %q that this version does not know", what.Name, c)
		}
	}
	l.table = &table{what.Name, what.Columns}
	return false, nil
}

func (l *loader) row(line json.RawMessage) error {
	if l.table == nil {
		return errors.New("the backup has a row before its table")
	}
	dec := json.NewDecoder(strings.NewReader(string(line)))
	dec.UseNumber()
	var values []any
	if err := dec.Decode(&values); err != nil {
		return err
	}
	if len(values) != len(l.table.Columns) {
		return fmt.Errorf("a row of %s has %d values", l.table.Name, len(values))
	}
	for i, v := range values {
		var err error
		switch x := v.(type) {
		case json.Number:
			values[i], err = x.Int64()
		case string:
			if binary(l.table.Columns[i]) {
				values[i], err = base64.StdEncoding.DecodeString(x)
			}
		}
		if err != nil {
			return fmt.Errorf("%s.%s: %w", l.table.Name, l.table.Columns[i], err)
		}
	}
	l.rows = append(l.rows, values)
	l.count++
	if l.size += len(line); len(l.rows) >= batchSizes[0] || l.size > chunkSize {
		return l.flush()
	}
	return nil
}

func (l *loader) flush() error {
	if len(l.rows) == 0 {
		return nil
	}
	rows := l.rows
	l.rows, l.size = nil, 0
	return l.t.batch(len(rows), batch{
		head:  "INSERT INTO " + l.table.Name + " (" + strings.Join(l.table.Columns, ", ") + ") VALUES ",
		tuple: "(?" + strings.Repeat(", ?", len(l.table.Columns)-1) + ")",
		args:  func(i int) []any { return rows[i] },
	})
}
