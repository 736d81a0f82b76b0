package policy

import (
	"errors"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/codeowners"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// fakePeople knows members of forge teams and owners by the login.
type fakePeople struct {
	members map[string][]string
	err     error
}

func (f fakePeople) InTeam(a store.Approval, team config.Who) (bool, error) {
	for _, m := range f.members[team.Name] {
		if m == a.Login {
			return true, nil
		}
	}
	return false, f.err
}

func (f fakePeople) IsOwner(a store.Approval, o codeowners.Owner) (bool, error) {
	if o.Kind == codeowners.Team {
		return f.InTeam(a, config.Who{Name: o.Name})
	}
	return o.Name == a.Login, nil
}

func review(login string, at int) store.Approval {
	a := approve("gitea:"+login, at)
	a.Via, a.Login = store.ByReview, login
	return a
}

// filed is a plan of changes that files ask for.
func filed(files ...string) *plan.Plan {
	p := &plan.Plan{Mode: plan.Apply}
	for i, f := range files {
		p.Changes = append(p.Changes, plan.Change{Key: plan.Key{Scope: "z", Address: plan.Address(string(rune('a' + i)))}, Kind: "record",
			Action: plan.Create, Source: plan.Source{File: f}})
	}
	return p
}

func owned(t *testing.T, text string) Owners {
	t.Helper()
	f, mistakes := codeowners.Parse(codeowners.GitLab, []byte(text))
	if f == nil {
		t.Fatal(mistakes)
	}
	return Owners{File: f, Path: "dns/zone"}
}

func TestKindsOfApprovers(t *testing.T) {
	f := facts()
	f.Proposal = Proposal{Number: 3, Authors: []Author{{"gitea:paul", "paul"}}}
	f.People = fakePeople{members: map[string][]string{"acme/sre": {"sara", "simon"}, "acme/dns": {"dora"}}}
	f.Owners = owned(t, "dns/ @anna @acme/dns\ndns/secret @sue\n[Two][2]\n/two @x @y @z\n^[Maybe]\ndns/open @maybe\n/lonely @maybe\n")
	owner := config.Approval{By: []string{"codeowners"}, Reviews: true}
	for name, c := range map[string]struct {
		rule  config.Approval
		files []string
		given []store.Approval
		have  string
		miss  string
	}{
		"an owner":             {rule: owner, files: []string{"dns/a"}, given: []store.Approval{review("anna", 1)}, have: "gitea:anna"},
		"a team owns":          {rule: owner, files: []string{"dns/a"}, given: []store.Approval{review("dora", 1)}, have: "gitea:dora"},
		"nobody's owner":       {rule: owner, files: []string{"dns/a"}, given: []store.Approval{review("eve", 1)}, miss: "needs 1 approval by a code owner of dns/a (@anna @acme/dns)"},
		"every file":           {rule: owner, files: []string{"dns/a", "dns/secret"}, given: []store.Approval{review("anna", 1)}, have: "gitea:anna", miss: "needs 1 approval by a code owner of dns/secret (@sue)"},
		"all files":            {rule: owner, files: []string{"dns/a", "dns/secret"}, given: []store.Approval{review("anna", 1), review("sue", 2)}, have: "gitea:anna gitea:sue"},
		"no owner":             {rule: owner, files: []string{"web/x"}, given: []store.Approval{review("anna", 1)}, miss: "needs 1 approval by a code owner of web/x, which has none in CODEOWNERS"},
		"the target's path":    {rule: owner, files: []string{""}, miss: "needs 1 approval by a code owner of dns/zone (@anna @acme/dns)"},
		"a section's number":   {rule: owner, files: []string{"two"}, given: []store.Approval{review("x", 1)}, have: "gitea:x", miss: "needs 1 more approval by a code owner of two (@x @y @z)"},
		"optional is optional": {rule: owner, files: []string{"dns/open"}, given: []store.Approval{review("maybe", 1)}, miss: "needs 1 approval by a code owner of dns/open (@anna @acme/dns)"},
		"only optional ones":   {rule: owner, files: []string{"lonely"}, given: []store.Approval{review("maybe", 1)}, have: "gitea:maybe"},
		"owner or team": {rule: config.Approval{By: []string{"codeowners", "team:acme/sre"}, Reviews: true}, files: []string{"dns/a", "web/x"},
			given: []store.Approval{review("sara", 1)}, have: "gitea:sara"},
		"reviews not counted": {rule: config.Approval{By: []string{"codeowners"}}, files: []string{"dns/a"}, given: []store.Approval{review("anna", 1)},
			miss: "needs 1 approval by a code owner of dns/a (@anna @acme/dns)"},
		"two kinds": {rule: config.Approval{All: []config.Quorum{{By: []string{"codeowners"}}, {By: []string{"team:acme/sre"}, Count: 2}}, Reviews: true}, files: []string{"dns/a"},
			given: []store.Approval{review("anna", 1), review("sara", 2)}, have: "gitea:anna gitea:sara", miss: "needs 1 more approval by team:acme/sre"},
		"both kinds": {rule: config.Approval{All: []config.Quorum{{By: []string{"codeowners"}}, {By: []string{"team:acme/sre"}, Count: 2}}, Reviews: true}, files: []string{"dns/a"},
			given: []store.Approval{review("anna", 1), review("sara", 2), review("simon", 3)}, have: "gitea:anna gitea:sara gitea:simon"},
		"anybody is nobody unknown": {rule: config.Approval{Reviews: true}, files: []string{"dns/a"}, given: []store.Approval{review("eve", 1)}, miss: "needs 1 approval by any approver"},
		"the proposer": {rule: config.Approval{By: []string{"team:acme/sre"}, NotAuthor: true, Reviews: true}, files: []string{"dns/a"}, given: []store.Approval{review("paul", 1)},
			miss: "needs 1 approval by team:acme/sre"},
	} {
		d, err := compile(t, c.rule).Decide(filed(c.files...), f, c.given, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(d.Have, " "); got != c.have || d.Missing != c.miss || d.Allowed() != (c.miss == "") {
			t.Errorf("%s: have %q, %q; ignored %v", name, got, d.Missing, d.Ignored)
		}
	}
}

func TestWhyAnApprovalDoesNotCount(t *testing.T) {
	f := facts()
	f.Proposal = Proposal{Authors: []Author{{"user:paula", "paula"}}, Requested: []string{"user:ada"}}
	f.People = fakePeople{err: errors.New("the forge is away")}
	r := compile(t, config.Approval{By: []string{"team:sre"}, NotAuthor: true})
	for who, want := range map[string]string{
		"user:bob":    "user:bob can't approve this: the rule asks for team:sre",
		"user:alice":  "leaves out who proposed or caused the change",
		"user:paula":  "leaves out who proposed or caused the change",
		"user:ada":    "leaves out who proposed or caused the change",
		"system:poll": "only people approve",
	} {
		a := approve(who, 1)
		if err := r.Counts(mixed(), f, nil, nil, a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", who, err)
		}
	}
	a := approve("user:carl", 1, "sre")
	a.Login = "PAULA"
	if err := r.Counts(mixed(), f, nil, nil, a); err == nil {
		t.Error("the same login under another name")
	}
	if err := r.Counts(mixed(), f, nil, nil, approve("user:bob", 1, "sre")); err != nil {
		t.Error(err)
	}
	if err := compile(t).Counts(mixed(), f, nil, nil, approve("user:bob", 1)); err != nil {
		t.Errorf("nothing is needed: %v", err)
	}
	err := compile(t, config.Approval{By: []string{"team:acme/sre"}}).Counts(mixed(), f, nil, nil, approve("user:bob", 1))
	if err == nil || !strings.Contains(err.Error(), "the forge is away") {
		t.Errorf("a team that can't be read: %v", err)
	}
}

func TestVariablesOfPullRequests(t *testing.T) {
	f := facts()
	f.Driver = "dns"
	f.Proposal = Proposal{Number: 7, Authors: []Author{{"user:alice", "alice"}}, Labels: []string{"dns", "small"}}
	for expr, want := range map[string]bool{
		`plan.actions == ["create"]`:                             true,
		`plan.writes < 3 && plan.kinds == ["record"]`:            true,
		`driver == "dns" && pull == 7 && author == "user:alice"`: true,
		`"small" in labels && !("big" in labels)`:                true,
		`scopes == ["z"]`:                                        true,
		`plan.changes.all(c, c.address in ["a", "b"])`:           true,
		`plan.changes.all(c, c.address == "a")`:                  false,
	} {
		d, err := compile(t, config.Approval{When: expr, By: []string{"auto"}}).Decide(filed("x", "y"), f, nil, nil)
		if err != nil || d.Auto != want {
			t.Errorf("%s: %v %v", expr, d.Auto, err)
		}
	}
}

// A plan that carries what others left waiting has them as authors too.
func TestSeveralProposals(t *testing.T) {
	f := facts()
	one := Proposal{Number: 7, Authors: []Author{{"user:alice", "al"}}, Labels: []string{"dns", "small"}}
	two := Proposal{Number: 8, Authors: []Author{{"gitea:mallory", "mallory"}}, Labels: []string{"small"}}
	f.Proposal = one.And(two)
	for expr, want := range map[string]bool{
		`author == "user:alice"`:                     false,
		`author == ""`:                               true,
		`authors == ["user:alice", "gitea:mallory"]`: true,
		`authors.all(a, a == "user:alice")`:          false,
		`pull == 0 && labels == ["small"]`:           true,
	} {
		d, err := compile(t, config.Approval{When: expr, By: []string{"auto"}}).Decide(filed("x"), f, nil, nil)
		if err != nil || d.Auto != want {
			t.Errorf("%s: %v %v", expr, d.Auto, err)
		}
	}
	r := compile(t, config.Approval{By: []string{"team:sre"}, NotAuthor: true})
	mallory := approve("user:m", 1, "sre")
	mallory.Login = "Mallory"
	if err := r.Counts(filed("x"), f, nil, nil, mallory); err == nil {
		t.Error("one of two authors approves")
	}
	if again := one.And(one); again.Number != 7 || len(again.Authors) != 1 || len(again.Labels) != 2 {
		t.Errorf("%+v", again)
	}
}

func TestWhatRulesNeed(t *testing.T) {
	for rule, want := range map[string]config.Approval{
		"":                  {When: "plan.writes > 0"},
		"proposal":          {When: "'x' in labels"},
		"proposal reviews":  {NotAuthor: true, Reviews: true},
		"owners":            {By: []string{"codeowners"}},
		"owners by several": {All: []config.Quorum{{By: []string{"team:a"}}, {By: []string{"codeowners"}}}},
	} {
		r := compile(t, want)
		if r.NeedsProposal() != strings.Contains(rule, "proposal") || r.CountsReviews() != strings.Contains(rule, "reviews") || r.NeedsOwners() != strings.Contains(rule, "owners") {
			t.Errorf("%q: %v %v %v", rule, r.NeedsProposal(), r.CountsReviews(), r.NeedsOwners())
		}
	}
}

func TestNoOwnersNoApproval(t *testing.T) {
	f := facts()
	f.Owners = Owners{Problem: "CODEOWNERS: line 3: no"}
	d, err := compile(t, config.Approval{By: []string{"codeowners"}, Reviews: true}).Decide(filed("a"), f, []store.Approval{review("anna", 1)}, nil)
	if err != nil || d.Allowed() || !strings.Contains(d.Missing, "CODEOWNERS: line 3") {
		t.Errorf("%+v %v", d, err)
	}
}

// Taking another's record over into one's own file is up to both.
func TestTakingOverIsUpToBothOwners(t *testing.T) {
	f := facts()
	f.People = fakePeople{}
	f.Owners = owned(t, "dns/a @anna\ndns/b @bert\n")
	f.Owners.Was = func(k plan.Key) string { return map[plan.Address]string{"a": "dns/b"}[k.Address] }
	r := compile(t, config.Approval{By: []string{"codeowners"}, Reviews: true})
	p := filed("dns/a")
	if d, err := r.Decide(p, f, []store.Approval{review("anna", 1)}, nil); err != nil || d.Allowed() || !strings.Contains(d.Missing, "@bert") {
		t.Errorf("taken over without its owner: %+v", d)
	}
	if d, err := r.Decide(p, f, []store.Approval{review("anna", 1), review("bert", 2)}, nil); err != nil || !d.Allowed() {
		t.Errorf("both agreed: %+v", d)
	}
}
