package storetest

import (
	"encoding/json"
	"errors"

	"trueup.dev/trueup/internal/store"
)

func init() { register("records/edits", edits) }

func edits(e *env) {
	l := e.hold("a/1")
	_, err := e.Edit(e.ctx, store.LiveValues, "a/1")
	e.missing("unknown", err)
	e.ok(e.PutEdit(e.ctx, l.Fence, store.Edit{Kind: store.LiveValues, Target: "a/1", Repository: "a", Digest: "d1", Values: json.RawMessage(`[1]`)}))
	e.ok(e.PutEdit(e.ctx, l.Fence, store.Edit{Kind: store.WrittenBack, Target: "a/1", Repository: "a", Digest: "d1", State: store.EditProposed, Number: 4}))
	e.ok(e.PutEdit(e.ctx, l.Fence, store.Edit{Kind: store.LiveValues, Target: "b/1", Repository: "b", Digest: "d9"}))
	e.ok(e.PutEdit(e.ctx, l.Fence, store.Edit{Kind: store.LiveValues, Target: "a/1", Repository: "a", Digest: "d2", Error: "x\x00y"}))
	got, err := e.Edit(e.ctx, store.LiveValues, "a/1")
	e.ok(err)
	e.equal("the newest counts", line(got.Digest, got.At.IsZero(), len(got.Values)), "d2 false 0")
	list, err := e.Edits(e.ctx, "a")
	e.ok(err)
	e.equal("of one repository", line(len(list), list[0].Kind, list[1].Kind, list[1].Number), "2 live writeback 4")
	list, err = e.Edits(e.ctx, "")
	e.ok(err)
	e.equal("of all", line(len(list)), "3")
	stale := l.Fence
	stale.Token++
	if err := e.PutEdit(e.ctx, stale, got); !errors.Is(err, store.ErrFenced) {
		e.t.Fatalf("a stale fence: %v", err)
	}
	for range 2 {
		e.ok(e.DropEdit(e.ctx, l.Fence, store.LiveValues, "a/1"))
	}
	_, err = e.Edit(e.ctx, store.LiveValues, "a/1")
	e.missing("dropped", err)
}
