package engine

import (
	"context"

	"trueup.dev/trueup/internal/source"
)

// Blame tells which commit wrote a line of a repository's file, as of a
// commit.
func (e *Engine) Blame(ctx context.Context, repository, commit, file string, line int) (source.Revision, error) {
	m, err := e.mirror(ctx, repository)
	if err != nil {
		return source.Revision{}, err
	}
	return m.Blame(ctx, commit, file, line)
}
