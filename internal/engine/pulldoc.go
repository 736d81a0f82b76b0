package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// pull is a pull request as the engine remembers it: the forge's facts as
// last read, and what came of planning them.
//
//house:exception one record that is stored as it is
type pull struct {
	Facts forge.PullRequest `json:"facts"`
	// Base is the commit of the base branch that Merge was made with.
	Base      string `json:"base,omitempty"`
	Merge     string `json:"merge,omitempty"`
	Ref       string `json:"ref,omitempty"` // what is followed
	ConfigVer int64  `json:"configVersion,omitempty"`
	// Planning tells that a plan of the head is under way.
	Planning bool `json:"planning,omitempty"`
	// Refused says why it is not planned at all, Failed why it could not be.
	Refused   string           `json:"refused,omitempty"`
	Failed    string           `json:"failed,omitempty"`
	Retry     bool             `json:"retry,omitempty"` // the failure may pass by itself
	Findings  plan.Diagnostics `json:"findings,omitempty"`
	Targets   []pullTarget     `json:"targets,omitempty"`
	PlannedAt time.Time        `json:"plannedAt,omitzero"`
	// Vouched is the head commit that somebody trusted asked to plan.
	Vouched string `json:"vouched,omitempty"`
	// Locks are the targets that this pull request was applied to before its
	// merge.
	Locks []string `json:"locks,omitempty"`
	// Assents are the approvals that were given on the pull request.
	Assents []store.Assent `json:"assents,omitempty"`
	// Requested are those who had trueup open the pull request.
	Requested []store.Actor `json:"requested,omitempty"`
	// Seen is the forge's time of the last change, and SeenAt when it was first
	// seen here.
	Seen   time.Time `json:"seen,omitzero"`
	SeenAt time.Time `json:"seenAt,omitzero"`
}

// pullTarget is what the pull request would do to one target.
//
//house:exception one record that is stored and shown as it is
type pullTarget struct {
	ID          string          `json:"id"`
	Environment string          `json:"environment"`
	Path        string          `json:"path,omitempty"`
	State       pullOutcome     `json:"state"`
	Run         string          `json:"run,omitempty"`
	Hash        string          `json:"hash,omitempty"`
	Digest      string          `json:"digest,omitempty"`
	Summary     plan.Summary    `json:"summary,omitempty"`
	Owned       int             `json:"owned,omitempty"`
	Gate        Gate            `json:"gate,omitempty"`
	Message     string          `json:"message,omitempty"`
	Approval    policy.Decision `json:"approval,omitzero"`
	New         bool            `json:"new,omitempty"`
	Retry       bool            `json:"retry,omitempty"` // the failure may pass by itself
	LockedBy    string          `json:"lockedBy,omitempty"`
}

// pullOutcome says how planning a target for a pull request ended.
type pullOutcome string

const (
	pullPlanned  pullOutcome = "planned"
	pullNothing  pullOutcome = "nothing"  // already as desired
	pullFailed   pullOutcome = "failed"   // no plan could be made
	pullOrphaned pullOutcome = "orphaned" // would leave trueup.yaml
	pullWaits    pullOutcome = "waits"    // runs code of the repository, and nobody vouched for it
	pullLeftOut  pullOutcome = "leftout"  // its policy keeps it out
)

func pullKey(repository string, number int) string { return repository + "#" + strconv.Itoa(number) }

// The keys of preview work beside pull requests: the list of the open ones,
// a commit that landed, a merge queue's group.
const (
	openWork    = "open"
	landingWork = "landing/"
	groupWork   = "group/"
)

// splitKey takes the key of preview work apart.
func splitKey(key string) (repository, what string, number int) {
	i := strings.LastIndexByte(key, '#')
	if i < 0 {
		return key, "", 0
	}
	repository, what = key[:i], key[i+1:]
	if n, err := strconv.Atoi(what); err == nil && n > 0 {
		return repository, "", n
	}
	return repository, what, 0
}

func pullSlot(repository string) string { return "pulls:" + repository }

// loadPull gives what is remembered of a pull request; false when it is new.
func (e *Engine) loadPull(ctx context.Context, repository string, number int) (store.Pull, pull, bool, error) {
	rec, err := e.store.Pull(ctx, repository, number)
	if errors.Is(err, store.ErrNotFound) {
		return store.Pull{Repository: repository, Number: number, State: store.PullOpen}, pull{}, false, nil
	}
	if err != nil {
		return rec, pull{}, false, err
	}
	var p pull
	if err := json.Unmarshal(rec.Doc, &p); err != nil {
		return rec, pull{}, false, fmt.Errorf("pull request %s#%d: stored record: %w", repository, number, err)
	}
	return rec, p, true, nil
}

// savePull stores a pull request under the lease, and asks for it to be told.
func (e *Engine) savePull(ctx context.Context, f store.Fence, rec store.Pull, p pull) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	rec.Doc = body
	if err := e.store.PutPull(ctx, f, rec); err != nil {
		return err
	}
	return e.tell(ctx, forgeMessage{Kind: tellPull, Repository: rec.Repository, Number: rec.Number})
}

// plansKey stands for what is shown to be decided on: a word that was given
// while it was counts for it. It is empty while nothing is.
func (p *pull) plansKey() string {
	if p.Planning || p.Refused != "" || len(p.Targets) == 0 {
		return ""
	}
	h := sha256.New()
	fmt.Fprintln(h, p.Facts.HeadCommit)
	for _, t := range p.Targets {
		fmt.Fprintf(h, "%s %s %s\n", t.ID, t.State, t.Hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// target finds a planned target by id or name.
func (p *pull) target(name string) *pullTarget {
	for i := range p.Targets {
		t := &p.Targets[i]
		if _, short, _ := strings.Cut(t.ID, "/"); t.ID == name || short == name {
			return t
		}
	}
	return nil
}
