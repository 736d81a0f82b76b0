package sql

import (
	"bufio"
	"compress/gzip"
	"context"
	dbsql "database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// backupFormat is raised when older versions can't read the file any more.
const backupFormat = 1

// table names the columns of a table in a backup, in the order of their
// values.
type table struct {
	Name    string   `json:"table"`
	Columns []string `json:"columns"`
}

// tables is all that a backup holds.
var tables = []table{
	{"counters", words("name value hash at")},
	{"work", words("kind key slot class generation observed due_at attempts payload owner token lease_until reap_at run_class cancel_by")},
	{"triggers", words("kind key generation at class cause actor commit_id")},
	{"targets", words("id repository manifest name environment config state phase desired_source desired status claims_digest")},
	{"repositories", words("name doc manifests")},
	{"runs", words("id target environment repository state started finished doc")},
	{"results", words("run seq body")},
	{"logs", words("run seq at text")},
	{"plans", words("run target hash at key_id")},
	{"plan_chunks", words("run part seq body")},
	{"inventory", words("target scope address kind class weight realm hash last_applied source run mark fresh")},
	{"edits", words("kind target repository at doc")},
	{"claims", words("realm address prefix target")},
	{"approvals", words("id target digest plan_hash at doc")},
	{"outputs", words("target name doc")},
	{"events", words("seq at actor kind target run data hash sig")},
	{"audit_anchor", words("id seq at hash sig")},
	{"holds", words("kind key doc")},
	{"blobs", words("id at gzip body")},
	{"states", words("target commit_id kind at body")},
	{"state_blobs", words("blob target commit_id")},
	{"fingerprints", words("target digest doc")},
	{"scopes", words("target scope commit_id doc")},
	{"configs", words("version digest actor at body")},
	{"secret_keys", words("name sealed")},
	{"agents", words("host public_key state enrolled_at enrolled_by expires_at seen_at version boot address generation")},
	{"agent_corrections", words("id host target at key_id body")},
	{"pulls", words("repository number state head updated_at at landed doc")},
	{"landings", words("repository commit_id at final doc origin")},
	{"sayings", words("repository subject at id hash")},
}

func words(s string) []string { return strings.Fields(s) }

// binary tells the columns that hold bytes.
func binary(column string) bool { return column == "body" }

// backupHead is the first line of a backup, backupEnd the last.
type backupHead struct {
	Trueup string    `json:"trueup"`
	Format int       `json:"format"`
	At     time.Time `json:"at"`
	Key    string    `json:"key"` // the id of the encryption key
}

type backupEnd struct {
	End  bool  `json:"end"`
	Rows int64 `json:"rows"`
}

// Backup writes a consistent copy: gzip over one JSON value a line. What is
// encrypted in the store stays encrypted; Restore needs the same key.
func (d *DB) Backup(ctx context.Context, w io.Writer) error {
	z := gzip.NewWriter(w)
	buffered := bufio.NewWriterSize(z, 1<<16)
	err := d.dump(ctx, json.NewEncoder(buffered))
	return errors.Join(err, buffered.Flush(), z.Close())
}

func (d *DB) dump(ctx context.Context, enc *json.Encoder) error {
	enc.SetEscapeHTML(false)
	options := &dbsql.TxOptions{}
	if d.dialect == &postgres {
		options = &dbsql.TxOptions{ReadOnly: true, Isolation: dbsql.LevelRepeatableRead}
	}
	return mapError(d.once(ctx, d.read, options, func(t *tx) error {
		now, err := t.now()
		if err != nil {
			return err
		}
		if err := enc.Encode(backupHead{Trueup: "backup", Format: backupFormat, At: now, Key: d.keys.current}); err != nil {
			return err
		}
		var rows int64
		for _, tb := range tables {
			if err := enc.Encode(tb); err != nil {
				return err
			}
			n, err := t.dumpTable(enc, tb)
			if err != nil {
				return fmt.Errorf("%s: %w", tb.Name, err)
			}
			rows += n
		}
		return enc.Encode(backupEnd{End: true, Rows: rows})
	}))
}

func (t *tx) dumpTable(enc *json.Encoder, tb table) (int64, error) {
	values := make([]any, len(tb.Columns))
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = &values[i]
	}
	var n int64
	err := t.each(func(r *dbsql.Rows) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		for i, v := range values {
			b, ok := v.([]byte)
			switch {
			case !ok:
			case binary(tb.Columns[i]):
				values[i] = base64.StdEncoding.EncodeToString(b)
			default:
				values[i] = string(b)
			}
		}
		n++
		return enc.Encode(values)
	}, "SELECT "+strings.Join(tb.Columns, ", ")+" FROM "+tb.Name)
	return n, err
}
