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
	"time"

	"trueup.dev/trueup/internal/store"
)

const (
	// maxBlob bounds one kept file.
	maxBlob = 256 << 20
	// blobRest is how long a blob that no state names is left alone: its
	// state may be on its way.
	blobRest = time.Hour
)

// PutBlob keeps a file's content.
func (d *DB) PutBlob(ctx context.Context, id string, body []byte) error {
	if len(body) > maxBlob {
		return fmt.Errorf("blob %s has %d bytes, at most %d are kept", id, len(body), maxBlob)
	}
	small, err := squeeze(body)
	if err != nil {
		return err
	}
	zipped := small != nil
	if zipped {
		body = small
	}
	if body == nil {
		body = []byte{}
	}
	return d.soon(ctx, func(t *tx) error {
		// The new time keeps a known blob from being swept before its new
		// state names it.
		n, err := t.exec("UPDATE blobs SET at = {now} WHERE id = ?", id)
		if err != nil || n > 0 {
			return err
		}
		_, err = t.exec("INSERT INTO blobs (id, at, gzip, body) VALUES (?, {now}, ?, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at", id, number(zipped), body)
		return err
	})
}

// squeeze compresses; nil when it does not help.
func squeeze(body []byte) ([]byte, error) {
	if len(body) < 256 {
		return nil, nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil || b.Len() >= len(body) {
		return nil, err
	}
	return b.Bytes(), nil
}

// Blob gives a file's content.
func (d *DB) Blob(ctx context.Context, id string) ([]byte, error) {
	var body []byte
	var zipped int
	err := d.view(ctx, func(t *tx) error {
		return t.get([]any{&body, &zipped}, "SELECT body, gzip FROM blobs WHERE id = ?", id)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("blob %s: %w", id, err)
	}
	if err != nil || zipped == 0 {
		return body, err
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxBlob+1))
}

// KeepState remembers a commit's input listing. The newest keep states stay,
// the newest one of each kind, and those that a scope is at.
func (d *DB) KeepState(ctx context.Context, f store.Fence, target string, s store.KeptState, keep int) error {
	ids, words, err := namedBlobs(s.Listing)
	if err != nil {
		return fmt.Errorf("listing of %s at %s: %w", target, s.Commit, err)
	}
	body, err := pack(s)
	if err != nil {
		return err
	}
	return d.fencedSoon(ctx, f, func(t *tx) error {
		_, err := t.exec(`INSERT INTO states (target, commit_id, kind, at, body) VALUES (?, ?, ?, {now}, ?)
			ON CONFLICT (target, commit_id) DO UPDATE SET at = excluded.at, body = excluded.body,
			kind = CASE WHEN states.kind = 'good' OR (states.kind = 'applied' AND excluded.kind = 'approved') THEN states.kind ELSE excluded.kind END`,
			target, s.Commit, s.Kind, body)
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM state_blobs WHERE target = ? AND commit_id = ?", target, s.Commit); err != nil {
			return err
		}
		named, err := t.knownBlobs(words)
		if err != nil {
			return err
		}
		named = append(named, ids...)
		err = t.batch(len(named), batch{
			head: "INSERT INTO state_blobs (blob, target, commit_id) VALUES ", tuple: "(?, ?, ?)",
			args: func(i int) []any { return []any{named[i], target, s.Commit} },
		})
		if err != nil {
			return err
		}
		return t.trimStates(target, keep)
	})
}

func (t *tx) trimStates(target string, keep int) error {
	seen, inUse := map[string]bool{}, map[string]bool{}
	err := t.each(func(r *dbsql.Rows) error {
		var commit string
		err := r.Scan(&commit)
		inUse[commit] = true
		return err
	}, "SELECT DISTINCT commit_id FROM scopes WHERE target = ?", target)
	if err != nil {
		return err
	}
	var drop []string
	n := 0
	err = t.each(func(r *dbsql.Rows) error {
		var commit, kind string
		if err := r.Scan(&commit, &kind); err != nil {
			return err
		}
		if n++; n > max(keep, 1) && seen[kind] && !inUse[commit] {
			drop = append(drop, commit)
		}
		seen[kind] = true
		return nil
	}, "SELECT commit_id, kind FROM states WHERE target = ? ORDER BY at DESC, commit_id DESC", target)
	if err != nil || len(drop) == 0 {
		return err
	}
	for _, commit := range drop {
		if err := t.dropState(target, commit); err != nil {
			return err
		}
	}
	return nil
}

// dropState forgets a state and the blobs that only it named.
func (t *tx) dropState(target, commit string) error {
	_, err := t.exec(`DELETE FROM blobs WHERE at < {now} - ? AND id IN (SELECT blob FROM state_blobs WHERE target = ? AND commit_id = ?)
		AND NOT EXISTS (SELECT 1 FROM state_blobs s WHERE s.blob = blobs.id AND NOT (s.target = ? AND s.commit_id = ?))`,
		blobRest.Microseconds(), target, commit, target, commit)
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM state_blobs WHERE target = ? AND commit_id = ?", target, commit); err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM states WHERE target = ? AND commit_id = ?", target, commit)
	return err
}

// knownBlobs gives those words that are the id of a blob.
func (t *tx) knownBlobs(words []string) ([]string, error) {
	var known []string
	err := t.batch(len(words), batch{
		head: "SELECT id FROM blobs WHERE id IN (", tuple: "?", tail: ")",
		args: func(i int) []any { return []any{words[i]} },
		scan: func(r *dbsql.Rows) error {
			var id string
			err := r.Scan(&id)
			known = append(known, id)
			return err
		},
	})
	return known, err
}

// namedBlobs finds the blob ids in a listing, whatever its form: the strings
// that read like an object id, which count at once, and all others, which
// count when there is such a blob.
func namedBlobs(listing json.RawMessage) (ids, words []string, err error) {
	if len(listing) == 0 {
		return nil, nil, nil
	}
	var doc any
	if err := json.Unmarshal(listing, &doc); err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case string:
			if seen[x] {
				return
			}
			if seen[x] = true; isObjectID(x) {
				ids = append(ids, x)
			} else {
				words = append(words, text(x))
			}
		case []any:
			for _, e := range x {
				walk(e)
			}
		case map[string]any:
			for k, e := range x {
				walk(k)
				walk(e)
			}
		}
	}
	walk(doc)
	return ids, words, nil
}

// isObjectID tells a hex SHA-1 or SHA-256.
func isObjectID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// State gives the state kept at a commit.
func (d *DB) State(ctx context.Context, target, commit string) (store.KeptState, error) {
	var s store.KeptState
	err := d.view(ctx, func(t *tx) (err error) {
		s, err = scanState(func(dest ...any) error {
			return t.get(dest, "SELECT kind, at, body FROM states WHERE target = ? AND commit_id = ?", target, commit)
		})
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("state of %s at %s: %w", target, commit, err)
		}
		return err
	})
	return s, err
}

func scanState(scan func(...any) error) (store.KeptState, error) {
	var s store.KeptState
	var kind string
	var at int64
	var body []byte
	if err := scan(&kind, &at, &body); err != nil {
		return s, err
	}
	err := unpack(body, &s)
	s.Kind, s.At = kind, fromMicros(at)
	return s, err
}

// States lists a target's kept states, newest first.
func (d *DB) States(ctx context.Context, target string) ([]store.KeptState, error) {
	var list []store.KeptState
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			s, err := scanState(r.Scan)
			list = append(list, s)
			return err
		}, "SELECT kind, at, body FROM states WHERE target = ? ORDER BY at DESC, commit_id DESC", target)
	})
	return list, err
}
