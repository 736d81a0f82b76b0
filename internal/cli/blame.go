package cli

import (
	"context"
	"errors"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
)

// blamer asks the engine's mirrors who wrote a line.
type blamer struct {
	blame func(ctx context.Context, repository, commit, file string, line int) (source.Revision, error)
}

func blamerOf(e *engine.Engine) api.Blamer { return blamer{e.Blame} }

// Blame gives the author of a line.
func (b blamer) Blame(ctx context.Context, repository, commit string, at plan.Source) (api.Authorship, error) {
	if at.Line == 0 {
		at.Line = 1
	}
	r, err := b.blame(ctx, repository, commit, at.File, at.Line)
	if err != nil {
		return api.Authorship{}, err
	}
	if r.Commit == "" {
		return api.Authorship{}, errors.New("no commit wrote it")
	}
	return api.Authorship{Commit: r.Commit, Author: r.Author, Email: r.AuthorEmail, Subject: r.Subject, At: r.Time}, nil
}
