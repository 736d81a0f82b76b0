package engine

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

// Whoever proposes a change names targets: a name that looks like a hash is
// none, and a word that fits two plans approves neither.
func TestWhichPlanAWordStandsFor(t *testing.T) {
	db := &pullTarget{ID: "infra/db", Hash: "db11111111111111"}
	web := &pullTarget{ID: "infra/web", Hash: "0123456789abcdef"}
	trap := &pullTarget{ID: "infra/0123456789ab", Hash: "ffffffffffffffff"}
	for _, c := range []struct {
		word   string
		among  []*pullTarget
		want   *pullTarget
		hashed bool
	}{
		{"db", []*pullTarget{db, web}, db, false},
		{"infra/db", []*pullTarget{db, web}, db, false},
		{"DB111111", []*pullTarget{db, web}, db, true},
		{"db11111", []*pullTarget{db, web}, nil, false},
		{"0123456789ab", []*pullTarget{db, web}, web, true},
		{"0123456789ab", []*pullTarget{trap, db, web}, nil, false},
		{"0123456789ab", []*pullTarget{trap, db}, trap, false},
		{"", []*pullTarget{db}, nil, false},
	} {
		got, err := choose(c.among, c.word)
		if got != c.want || (err == nil) != (c.want != nil) {
			t.Errorf("%q stands for %v, %v", c.word, got, err)
		}
		if got != nil && got.hashed(c.word) != c.hashed {
			t.Errorf("%q is a hash of %s: %v", c.word, got.ID, !c.hashed)
		}
	}
}

// Where what is applied must be signed, a merge result that nobody signed is
// not applied by a comment.
func TestApplyBeforeTheMergeIsNoWayAroundSignatures(t *testing.T) {
	p := &previewing{conf: &config.Repository{PullRequests: config.PullRequests{ApplyBeforeMerge: true}}}
	if err := p.mayApply(); err != nil {
		t.Fatal(err)
	}
	p.conf.Signatures = &config.Signatures{Require: "commits"}
	if err := p.mayApply(); err == nil || !strings.Contains(err.Error(), "must be signed") {
		t.Errorf("applied without a signature: %v", err)
	}
}
