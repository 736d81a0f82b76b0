package engine

import (
	"testing"
	"time"
)

// A noisy target is passed on ever more seldom and keeps nobody else waiting.
func TestNoticesAreBoundedAndFair(t *testing.T) {
	n := newNotices(nil)
	now := time.Now()
	passed := map[string]int{}
	added := false
	for range 3600 { // an hour, a notice of the noisy one every second
		now = now.Add(time.Second)
		for range 10 {
			n.add("noisy")
		}
		if passed["noisy"] == 5 && !added {
			n.add("calm")
			added = true
		}
		for {
			target, _ := n.take(now)
			if target == "" {
				break
			}
			passed[target]++
		}
		if added && passed["calm"] == 0 {
			t.Fatal("a calm target waits behind a noisy one")
		}
	}
	if passed["noisy"] < 10 || passed["noisy"] > 20 || passed["calm"] != 1 {
		t.Errorf("%v", passed)
	}
	now = now.Add(time.Hour)
	if target, _ := n.take(now); target != "noisy" {
		t.Fatalf("what waited is lost: %q", target)
	}
	now = now.Add(time.Hour)
	n.add("noisy")
	if target, _ := n.take(now); target != "noisy" {
		t.Error("after a calm time a notice waits")
	}
	n.add("noisy")
	if target, wait := n.take(now.Add(noticePause - 1)); target != "" || wait != 1 {
		t.Errorf("the pause after a calm time is not the first one again: %q, %s", target, wait)
	}
}

func TestNoticesAreTrimmed(t *testing.T) {
	n := newNotices(nil)
	for i := range noticeKnown {
		n.known[string(rune(i))] = &notice{last: time.Now().Add(-time.Hour), pause: time.Minute}
	}
	n.add("one more")
	if len(n.known) != 1 || len(n.pending) != 1 {
		t.Errorf("%d known, %d pending", len(n.known), len(n.pending))
	}
}
