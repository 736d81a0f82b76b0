package cli

import (
	"fmt"
	"testing"

	"trueup.dev/trueup/internal/store"
)

func TestOriginFacts(t *testing.T) {
	o := &store.Origin{Forge: "gitlab", Noun: "merge request", Number: 12, Title: "new record", URL: "https://git/12",
		Proposed: store.Party{Login: "ann-gl", Actor: "user:ann"}, Merged: store.Party{Login: "carl"},
		Approved: []store.Assent{{Party: store.Party{Actor: "user:bob"}}, {Party: store.Party{Actor: "user:bob"}}}, CommitURL: "https://git/c"}
	got := fmt.Sprint(originFacts(o))
	want := `[[through merge request !12 "new record", https://git/12] [proposed by ann-gl (user:ann)] [approved by user:bob] [merged by carl] [commit https://git/c]]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := through(o); got != "merge request !12 by ann-gl (user:ann)" {
		t.Error(got)
	}
	if originFacts(nil) != nil || through(nil) != "" {
		t.Error("no origin, no words")
	}
}
