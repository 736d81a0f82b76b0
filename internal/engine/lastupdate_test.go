package engine

import (
	"testing"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// TestChangesWithinOneSecondAreLookedForAgain: forges tell times of change in
// whole seconds, so that the list looks the same after a second change.
func TestChangesWithinOneSecondAreLookedForAgain(t *testing.T) {
	at := time.Unix(1000, 0)
	now := at.Add(100 * time.Millisecond)
	p := &previewing{e: &Engine{parts: parts{clock: func() time.Time { return now }}}}
	look := func() bool { // tells whether the next list brings it back
		have := store.Pull{Head: "c", UpdatedAt: p.lastUpdate(at)}
		return !sameUpdate(have, forge.PullRequest{UpdatedAt: at, HeadCommit: "c"})
	}
	if !look() {
		t.Error("a change within the same second would be missed")
	}
	now = now.Add(updateSettles / 2)
	if !look() {
		t.Error("looked at twice within the second")
	}
	now = now.Add(updateSettles)
	if look() {
		t.Error("it is looked at for ever")
	}
	at = at.Add(time.Minute)
	if !look() {
		t.Error("a newer change has its own second")
	}
}
