package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Filter narrows an export; what is empty doesn't.
type Filter struct {
	Since       time.Time `json:"since,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Target      string    `json:"target,omitempty"`
	Environment string    `json:"environment,omitempty"`
	// Actor is who caused, proposed, approved or merged: user:NAME, a login.
	Actor string `json:"actor,omitempty"`
	// Sees narrows to environments; nil is all.
	Sees func(environment string) bool `json:"-"`
}

// gapless tells that all records of the time are there.
func (f Filter) gapless() bool {
	return f.Target == "" && f.Environment == "" && f.Actor == "" && f.Sees == nil
}

// Source is what an export reads.
type Source interface {
	store.Events
	store.Audit
	Target(ctx context.Context, id string) (store.Target, error)
	Now(ctx context.Context) (time.Time, error)
}

// Head begins an export.
type Head struct {
	Trueup string    `json:"trueup"` // audit
	Format int       `json:"format"`
	Key    string    `json:"key"` // the public key that the records are signed with
	At     time.Time `json:"at"`
	Filter Filter    `json:"filter,omitzero"`
	// Gapless tells that no record between the first and the last is left out.
	Gapless bool              `json:"gapless"`
	Anchor  store.AuditAnchor `json:"anchor,omitzero"`
}

// Record is an event with the hash before it, so that it can be checked by
// itself.
type Record struct {
	store.Event
	Prev string `json:"prev,omitempty"`
}

// tail ends an export. The signature covers head, number and all hashes.
type tail struct {
	Records int64  `json:"records"`
	Digest  string `json:"digest"`
	Sig     string `json:"sig"`
}

func sealText(h Head, t tail) (string, error) {
	body, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	head, err := plan.Canonical(body)
	return fmt.Sprintf("trueup audit export 1\n%s\n%d\n%s", head, t.Records, t.Digest), err
}

// Export writes the records that fit as one JSON document.
func Export(ctx context.Context, w io.Writer, s Source, f Filter) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	h := Head{Trueup: "audit", Format: 1, At: now, Filter: f, Gapless: f.gapless()}
	h.Filter.Sees = nil
	if h.Key, err = s.AuditKey(ctx); err != nil {
		return err
	}
	if h.Anchor, err = s.AuditAnchor(ctx); err != nil {
		return err
	}
	x := &exporter{s: s, f: f, w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New(), environments: map[string]string{}}
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	x.print(strings.TrimSuffix(string(body), "}") + `,"records":[`)
	if err := x.records(ctx, h.Anchor); err != nil {
		return err
	}
	t := tail{Records: x.n, Digest: hex.EncodeToString(x.sum.Sum(nil))}
	text, err := sealText(h, t)
	if err != nil {
		return err
	}
	if t.Sig, err = s.SignAudit(ctx, text); err != nil {
		return err
	}
	if body, err = json.Marshal(t); err != nil {
		return err
	}
	x.print("\n]," + `"end":` + string(body) + "}\n")
	return errors.Join(x.err, x.w.Flush())
}

type exporter struct {
	s            Source
	f            Filter
	w            *bufio.Writer
	sum          hash.Hash
	n            int64
	err          error
	environments map[string]string
}

func (x *exporter) print(text string) {
	if x.err == nil {
		_, x.err = x.w.WriteString(text)
	}
}

// exportPage is how many events are read at once.
const exportPage = 1000

func (x *exporter) records(ctx context.Context, anchor store.AuditAnchor) error {
	after, prev := anchor.Seq, anchor.Hash
	if prev == "" {
		prev = Genesis
	}
	for {
		events, err := x.s.Events(ctx, after, exportPage)
		if err != nil {
			return err
		}
		for _, e := range events {
			after = e.Seq
			if !x.f.Until.IsZero() && !e.At.Before(x.f.Until) {
				return x.err
			}
			fits, err := x.fits(ctx, e)
			if err != nil {
				return err
			}
			if fits {
				x.write(Record{e, prev})
			}
			if e.Hash != "" {
				prev = e.Hash
			}
		}
		if len(events) < exportPage || x.err != nil {
			return x.err
		}
	}
}

func (x *exporter) write(r Record) {
	if r.Hash == "" {
		r.Prev = ""
	}
	body, err := json.Marshal(r)
	if err != nil {
		x.err = err
		return
	}
	comma := ","
	if x.n == 0 {
		comma = ""
	}
	x.n++
	x.sum.Write([]byte(r.Hash + "\n"))
	x.print(comma + "\n" + string(body))
}

func (x *exporter) fits(ctx context.Context, e store.Event) (bool, error) {
	f := x.f
	if e.At.Before(f.Since) || f.Target != "" && e.Target != f.Target {
		return false, nil
	}
	if f.Environment == "" && f.Sees == nil {
		return f.Actor == "" || concerns(e, f.Actor), nil
	}
	env, err := x.environment(ctx, e)
	if err != nil {
		return false, err
	}
	if f.Environment != "" && env != f.Environment || f.Sees != nil && (env == "" || !f.Sees(env)) {
		return false, nil
	}
	return f.Actor == "" || concerns(e, f.Actor), nil
}

// environment finds the environment of an event.
func (x *exporter) environment(ctx context.Context, e store.Event) (string, error) {
	if env := RowOf(e).Environment; env != "" || e.Target == "" {
		return env, nil
	}
	if env, ok := x.environments[e.Target]; ok {
		return env, nil
	}
	t, err := x.s.Target(ctx, e.Target)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	x.environments[e.Target] = t.Environment
	return t.Environment, nil
}

// concerns tells whether somebody took part in what an event tells.
func concerns(e store.Event, who string) bool {
	if string(e.Actor) == who {
		return true
	}
	is := func(p store.Party) bool { return p.Login == who || string(p.Actor) == who }
	switch e.Kind {
	case RunFinished:
		var d RunData
		if json.Unmarshal(e.Data, &d) != nil || d.Origin == nil {
			return false
		}
		return is(d.Origin.Proposed) || is(d.Origin.Merged) || slices.ContainsFunc(d.Origin.Approved, func(a store.Assent) bool { return is(a.Party) })
	case Approval, Rejection:
		var d ApprovalData
		return json.Unmarshal(e.Data, &d) == nil && d.Login == who
	}
	return false
}
