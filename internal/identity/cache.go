package identity

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

// question is one that was put to a forge.
type question struct{ what, repository, team, login string }

type answer struct {
	value any
	conf  any // the repository's configuration it was asked under
	until time.Time
}

// maxKnown bounds the answers that are kept.
const maxKnown = 10_000

// ask puts a question to the forge of a repository, unless the answer is still
// fresh. Errors are not kept.
func ask[T any](ctx context.Context, d *Directory, q question, put func(forge.Forge) (T, error)) (T, error) {
	conf := d.config().Repositories[q.repository]
	if v, ok := d.fresh(q, conf); ok {
		return v.(T), nil
	}
	var none T
	f, err := d.forges.Forge(ctx, q.repository)
	if err != nil {
		return none, err
	}
	v, err := put(f)
	if err != nil {
		return none, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	d.known[q] = answer{v, conf, d.now().Add(keepFor)}
	return v, nil
}

func (d *Directory) fresh(q question, conf any) (any, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.known[q]
	return a.value, ok && a.conf == conf && d.now().Before(a.until)
}
