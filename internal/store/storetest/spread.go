package storetest

import (
	"fmt"
	"time"

	"trueup.dev/trueup/internal/store"
)

func init() { register("queue/spread", spread) }

// After a long stop, drift checks come due over a while, and everything else
// at once.
func spread(e *env) {
	for i := range 20 {
		key := fmt.Sprintf("a/%02d", i)
		l := e.hold(key)
		at := e.clock.Now().Add(time.Minute + time.Duration(i)*137*time.Millisecond)
		e.ok(e.Finish(e.ctx, l.Fence, store.Finish{Observed: l.Generation, NextDue: at}))
	}
	e.clock.Move(time.Hour)
	e.trigger(store.ByPush, "pushed")
	n, err := e.SpreadDrift(e.ctx, 10*time.Minute)
	e.ok(err)
	e.equal("moved", n, int64(20))
	now := e.claim(options("x", 100))
	e.equal("due at once", len(now), 1)
	e.ok(e.Finish(e.ctx, now[0].Fence, store.Finish{Observed: now[0].Generation}))
	e.clock.Move(10 * time.Minute)
	due := e.claim(options("y", 100))
	e.equal("due within the time", len(due), 20)
}
