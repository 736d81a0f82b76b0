package sql

import (
	"context"
	dbsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

// PutPull writes or overwrites a pull request.
func (d *DB) PutPull(ctx context.Context, f store.Fence, p store.Pull) error {
	return d.fenced(ctx, f, func(t *tx) error {
		_, err := t.exec(`INSERT INTO pulls (repository, number, state, head, updated_at, at, landed, doc) VALUES (?, ?, ?, ?, ?, {now}, ?, ?)
			ON CONFLICT (repository, number) DO UPDATE SET state = excluded.state, head = excluded.head, updated_at = excluded.updated_at,
			at = excluded.at, landed = excluded.landed, doc = excluded.doc`,
			p.Repository, p.Number, string(p.State), p.Head, micros(p.UpdatedAt), p.Landed, raw(p.Doc))
		return err
	})
}

// Pull gives a pull request.
func (d *DB) Pull(ctx context.Context, repository string, number int) (store.Pull, error) {
	p := store.Pull{Repository: repository, Number: number}
	err := d.view(ctx, func(t *tx) error {
		var updated int64
		var doc dbsql.NullString
		err := t.get([]any{&p.State, &p.Head, &updated, &p.Landed, &doc}, "SELECT state, head, updated_at, landed, doc FROM pulls WHERE repository = ? AND number = ?", repository, number)
		p.UpdatedAt = fromMicros(updated)
		if doc.Valid {
			p.Doc = json.RawMessage(doc.String)
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return p, fmt.Errorf("pull request %s#%d: %w", repository, number, err)
	}
	return p, err
}

// Pulls lists a repository's pull requests in a state, without their
// documents.
func (d *DB) Pulls(ctx context.Context, repository string, state store.PullState) ([]store.Pull, error) {
	var list []store.Pull
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			p := store.Pull{Repository: repository, State: state}
			var updated int64
			err := r.Scan(&p.Number, &p.Head, &updated, &p.Landed)
			p.UpdatedAt = fromMicros(updated)
			list = append(list, p)
			return err
		}, "SELECT number, head, updated_at, landed FROM pulls WHERE repository = ? AND state = ? ORDER BY number", repository, string(state))
	})
	return list, err
}

// LandedWith lists the numbers of the pull requests that a commit brought.
func (d *DB) LandedWith(ctx context.Context, repository, commit string) ([]int, error) {
	var list []int
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			var n int
			err := r.Scan(&n)
			list = append(list, n)
			return err
		}, "SELECT number FROM pulls WHERE repository = ? AND landed = ? AND landed <> '' ORDER BY number", repository, commit)
	})
	return list, err
}

// PutLanding keeps a commit; what is known of it already stays.
func (d *DB) PutLanding(ctx context.Context, f store.Fence, l store.Landing) error {
	return d.fenced(ctx, f, func(t *tx) error {
		if err := t.stamp(&l.At); err != nil {
			return err
		}
		at := l.At
		l.Origin, l.Final = nil, false
		doc, err := encode(l)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO landings (repository, commit_id, at, doc) VALUES (?, ?, ?, ?) ON CONFLICT (repository, commit_id) DO NOTHING",
			l.Repository, l.Commit, micros(at), doc)
		return err
	})
}

// SetOrigin writes how a commit came to be.
func (d *DB) SetOrigin(ctx context.Context, f store.Fence, repository, commit string, o store.Origin) error {
	doc, err := encode(o)
	if err != nil {
		return err
	}
	return d.fenced(ctx, f, func(t *tx) error {
		return t.one("commit "+commit, "UPDATE landings SET origin = ? WHERE repository = ? AND commit_id = ?", doc, repository, commit)
	})
}

// EndLanding marks an outcome as told for good.
func (d *DB) EndLanding(ctx context.Context, f store.Fence, repository, commit string) error {
	return d.fenced(ctx, f, func(t *tx) error {
		return t.one("commit "+commit, "UPDATE landings SET final = 1 WHERE repository = ? AND commit_id = ?", repository, commit)
	})
}

const landingColumns = "at, final, doc, origin"

func scanLanding(scan func(...any) error) (store.Landing, error) {
	var l store.Landing
	var at, final int64
	var doc string
	var origin dbsql.NullString
	if err := scan(&at, &final, &doc, &origin); err != nil {
		return l, err
	}
	if err := json.Unmarshal([]byte(doc), &l); err != nil {
		return l, err
	}
	l.At, l.Final = fromMicros(at), final != 0
	if !origin.Valid {
		return l, nil
	}
	return l, json.Unmarshal([]byte(origin.String), &l.Origin)
}

// Landing gives one commit.
func (d *DB) Landing(ctx context.Context, repository, commit string) (store.Landing, error) {
	var l store.Landing
	err := d.view(ctx, func(t *tx) (err error) {
		l, err = scanLanding(func(dest ...any) error {
			return t.get(dest, "SELECT "+landingColumns+" FROM landings WHERE repository = ? AND commit_id = ?", repository, commit)
		})
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return l, fmt.Errorf("commit %s of %s: %w", commit, repository, err)
	}
	return l, err
}

// Landings lists a repository's newest commits, the newest first.
func (d *DB) Landings(ctx context.Context, repository string, limit int) ([]store.Landing, error) {
	var list []store.Landing
	err := d.view(ctx, func(t *tx) error {
		list = nil
		return t.each(func(r *dbsql.Rows) error {
			l, err := scanLanding(r.Scan)
			list = append(list, l)
			return err
		}, "SELECT "+landingColumns+" FROM landings WHERE repository = ? ORDER BY at DESC LIMIT ?", repository, min(max(limit, 1), maxPage))
	})
	return list, err
}

// Say keeps what was said about a subject.
func (d *DB) Say(ctx context.Context, f store.Fence, repository, subject string, s store.Said) error {
	return d.fenced(ctx, f, func(t *tx) error {
		if err := t.stamp(&s.At); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO sayings (repository, subject, at, id, hash) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (repository, subject) DO UPDATE SET at = excluded.at, id = excluded.id, hash = excluded.hash`,
			repository, subject, micros(s.At), s.ID, s.Hash)
		return err
	})
}

// Said gives what was last said about a subject.
func (d *DB) Said(ctx context.Context, repository, subject string) (store.Said, error) {
	var s store.Said
	err := d.view(ctx, func(t *tx) error {
		var at int64
		err := t.get([]any{&at, &s.ID, &s.Hash}, "SELECT at, id, hash FROM sayings WHERE repository = ? AND subject = ?", repository, subject)
		s.At = fromMicros(at)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return s, fmt.Errorf("%s: %w", subject, err)
	}
	return s, err
}
