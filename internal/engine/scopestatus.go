package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// allThere tells that every scope, or every one of some, is at the desired
// commit.
func (j *job) allThere(only []plan.Scope) bool {
	in := among(only)
	for s, st := range j.states {
		if only != nil && !in(s) {
			continue
		}
		if st.Phase != store.ScopeSynced || st.Commit != j.desired.Commit {
			return false
		}
	}
	return true
}

// scopesText says in a sentence how the scopes are that are not in sync.
func (j *job) scopesText() string {
	type kind struct {
		phase store.ScopePhase
		why   string
	}
	by := map[kind][]string{}
	for _, s := range slices.Sorted(maps.Keys(j.states)) {
		st := j.states[s]
		if st.Phase == store.ScopeSynced && st.Commit == j.desired.Commit {
			continue
		}
		k := kind{st.Phase, strings.ReplaceAll(st.Message, string(s), "it")}
		if st.Phase == store.ScopeSynced {
			k.phase, k.why = store.ScopeBehind, ""
		}
		by[k] = append(by[k], string(s))
	}
	kinds := slices.SortedFunc(maps.Keys(by), func(a, b kind) int {
		return strings.Compare(string(a.phase)+a.why, string(b.phase)+b.why)
	})
	var texts []string
	for _, k := range kinds {
		text := fmt.Sprintf("%s %s", names(by[k]), phaseWord[k.phase])
		if k.why != "" {
			text += ": " + k.why
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d hosts are at %.12s; %s", j.count(), len(j.states), j.desired.Commit, listed(texts))
}

var phaseWord = map[store.ScopePhase]string{store.ScopeUnreachable: "unreachable", store.ScopeFailed: "failed",
	store.ScopeRolledBack: "rolled back", store.ScopeBehind: "not yet changed", store.ScopeRolling: "under way"}

// count is how many scopes are at the desired commit.
func (j *job) count() int {
	n := 0
	for _, st := range j.states {
		if st.Phase == store.ScopeSynced && st.Commit == j.desired.Commit {
			n++
		}
	}
	return n
}

// maxNamed is how many names stand in a sentence.
const maxNamed = 5

func names(list []string) string {
	if len(list) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxNamed], ", "), len(list)-maxNamed)
	}
	return strings.Join(list, ", ")
}

func scopeNames(list []plan.Scope) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return names(out)
}

// nextScope is when the first scope's own retry is due; zero is never.
func (j *job) nextScope() time.Time {
	var at time.Time
	for _, st := range j.states {
		if !st.NextDue.IsZero() && (at.IsZero() || st.NextDue.Before(at)) {
			at = st.NextDue
		}
	}
	return at
}

// eachHasRetry tells that whatever is wrong is wrong with single scopes, each
// of which has a retry of its own or waits for a person.
func (j *job) eachHasRetry() bool {
	if len(j.states) == 0 {
		return false
	}
	key := j.stateKey()
	for _, st := range j.states {
		if st.Phase == store.ScopeSynced && st.Commit == j.desired.Commit {
			continue
		}
		if st.NextDue.IsZero() && st.Bad != key {
			return false
		}
	}
	return true
}
