package engine

import (
	"context"
	"fmt"

	"trueup.dev/trueup/internal/store"
)

// closeAbandoned ends the records of runs whose process died. The lease is
// this run's, so nobody else works on the target: what is still recorded as
// running does not run any more.
func (j *job) closeAbandoned(ctx context.Context) error {
	if j.correction {
		return nil // it runs inside another run, under the same lease
	}
	runs, _, err := j.e.store.Runs(ctx, store.RunFilter{Target: j.target.ID, State: store.RunActive})
	if err != nil {
		return err
	}
	for _, r := range runs {
		r.State, r.Finished = store.RunAbandoned, j.e.clock()
		r.Error = fmt.Sprintf("its process ended during %q; a later run went on", r.Phase)
		if err := j.e.store.PutRun(ctx, j.lease.Fence, r); err != nil {
			return err
		}
	}
	return nil
}
