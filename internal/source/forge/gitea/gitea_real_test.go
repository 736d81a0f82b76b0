//go:build real

package gitea_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/secret"
	server "trueup.dev/trueup/internal/servertest/gitea"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/gitea"
)

// The server and some people on it are shared by the package's tests; each
// test has a repository of its own.
var world struct {
	*server.Server
	bot, ann, bob, carl, eve *server.Account
	err                      error
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trueup-gitea-")
	if err == nil {
		world.Server, err = server.StartIn(dir)
	}
	world.err = err
	if err == nil {
		s := world.Server
		world.bot, world.ann, world.bob, world.carl, world.eve = s.User("trueup-bot"), s.User("ann"), s.User("bob"), s.User("carl"), s.User("eve")
		s.Org("acme")
		s.Team("acme", "sre", "write", world.ann, world.bot)
		s.Team("acme", "other", "read", world.bob)
	}
	code := m.Run()
	if world.Server != nil {
		world.Stop()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// repository makes a repository with the bot as its administrator, and the
// forge as the bot sees it.
func repository(t *testing.T, name string, files map[string]string) (*server.Server, string, *gitea.Forge) {
	t.Helper()
	if world.err != nil {
		t.Fatal(world.err)
	}
	s := world.For(t)
	repo := s.Repo("acme/"+name, files)
	s.Collaborate(repo, world.bot, "admin")
	return s, repo, as(t, repo, world.bot.Token)
}

func as(t *testing.T, repo, token string) *gitea.Forge {
	t.Helper()
	f, err := gitea.Open(t.Context(), forge.Options{BaseURL: world.URL, Project: repo, Credentials: forge.Credentials{Token: secret.New(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*gitea.Forge)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestPullRequests(t *testing.T) {
	s, repo, f := repository(t, "pulls", map[string]string{"a": "1\n", "old": "a file that is renamed\nwith some lines\nin it\n", "gone": "x"})
	ctx := t.Context()
	head := world.ann.Commit(repo, "main", "change", "change", map[string]string{"a": "2\n", "new": "n", "gone": "", "old": "", "renamed": "a file that is renamed\nwith some lines\nin it\n"})
	n := world.ann.Pull(repo, "change", "main", "WIP: A change")
	p := must(f.PullRequest(ctx, n))(t)
	if p.Number != n || p.State != "open" || !p.Draft || p.Author != "ann" || p.Base != "main" || p.Head != "change" || p.HeadCommit != head ||
		p.HeadProject != repo || p.Fork || p.MergeCommit != "" || p.BaseCommit == "" || !strings.HasPrefix(p.URL, f.Info().WebURL) {
		t.Errorf("%+v", p)
	}
	files := must(f.Files(ctx, n))(t)
	var got []string
	for _, c := range files {
		got = append(got, strings.TrimSpace(c.Status+" "+c.Path+" "+c.OldPath))
	}
	slices.Sort(got)
	if want := []string{"added new", "modified a", "removed gone", "renamed renamed old"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}

	fork := world.eve.Fork(repo)
	world.eve.Commit(fork, "main", "mine", "mine", map[string]string{"b": "1"})
	m := world.eve.Pull(repo, "eve:mine", "main", "From a fork")
	if p := must(f.PullRequest(ctx, m))(t); !p.Fork || p.HeadProject != fork || p.Head != "mine" || p.Author != "eve" {
		t.Errorf("from a fork: %+v", p)
	}
	if open := must(f.Open(ctx))(t); len(open) != 2 || open[0].Number != n || open[1].Number != m {
		t.Errorf("open: %+v", open)
	}
	if err := world.eve.API("DELETE", "/repos/"+fork, nil, nil); err != nil {
		t.Fatal(err)
	}
	if p := must(f.PullRequest(ctx, m))(t); !p.Fork || p.HeadProject != "" {
		t.Errorf("from a fork that is gone: %+v", p)
	}

	if err := s.Admin.API("PATCH", fmt.Sprintf("/repos/%s/pulls/%d", repo, n), map[string]any{"title": "A change"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := world.ann.Merge(repo, n); err != nil {
		t.Fatal(err)
	}
	p = must(f.PullRequest(ctx, n))(t)
	if p.State != "merged" || p.MergeCommit == "" || p.MergedBy != "ann" {
		t.Errorf("merged: %+v", p)
	}
	if by := must(f.MergedBy(ctx, p.MergeCommit))(t); by.Number != n || by.MergedBy != "ann" {
		t.Errorf("merged by: %+v", by)
	}
	direct := s.Admin.Commit(repo, "main", "", "direct", map[string]string{"z": "1"})
	for _, c := range []string{direct, strings.Repeat("0", 40)} {
		if _, err := f.MergedBy(ctx, c); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("a direct push: %v", err)
		}
	}
	if _, err := f.PullRequest(ctx, 999); !errors.Is(err, forge.ErrNotFound) {
		t.Error(err)
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	_, repo, f := repository(t, "paging", nil)
	many := map[string]string{}
	for i := range 25 {
		many[fmt.Sprintf("f%03d", i)] = "x"
	}
	world.ann.Commit(repo, "main", "change", "change", many)
	n := world.ann.Pull(repo, "change", "main", "Many files")
	if files := must(f.Files(t.Context(), n))(t); len(files) != 25 {
		t.Errorf("%d files", len(files))
	}
	for i := range 23 {
		world.ann.Comment(repo, n, fmt.Sprint(i))
		world.bob.Review(repo, n, "COMMENT", fmt.Sprint(i))
	}
	world.bob.Review(repo, n, "APPROVED", "")
	comments := must(f.List(t.Context(), n))(t)
	if len(comments) != 23 || comments[0].Body != "0" || comments[22].Body != "22" || comments[0].Author != "ann" || comments[0].Own {
		t.Errorf("%d comments", len(comments))
	}
	if reviews := must(f.Reviews(t.Context(), n))(t); len(reviews) != 1 || reviews[0].State != "approved" {
		t.Errorf("%+v", reviews)
	}
	for i := range 11 {
		b := fmt.Sprintf("b%d", i)
		world.ann.Commit(repo, "main", b, b, map[string]string{b: "1"})
		world.ann.Pull(repo, b, "main", b)
	}
	if open := must(f.Open(t.Context()))(t); len(open) != 12 {
		t.Errorf("%d open pull requests", len(open))
	}
}

// TestRequiredStatusBlocksTheMerge also sees that our status is what opens it.
func TestRequiredStatusBlocksTheMerge(t *testing.T) {
	s, repo, f := repository(t, "gate", nil)
	ctx := t.Context()
	s.Protect(repo, server.Protection{Branch: "main", Statuses: []string{"trueup/*"}})
	if got := must(f.RequiredStatuses(ctx, "main"))(t); !slices.Equal(got, []string{"trueup/*"}) {
		t.Errorf("required: %q", got)
	}
	head := world.ann.Commit(repo, "main", "dir/change", "change", map[string]string{"a": "1"})
	if got := must(f.RequiredStatuses(ctx, "dir/change"))(t); len(got) != 0 {
		t.Errorf("required of an open branch: %q", got)
	}
	n := world.ann.Pull(repo, "dir/change", "main", "A change")
	set := func(state forge.StatusState) {
		t.Helper()
		if err := f.SetStatus(ctx, forge.Status{Commit: head, Context: "trueup/plan", State: state, Description: strings.Repeat("x", 300), URL: "https://trueup.example/runs/1"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []forge.StatusState{"", forge.StatusPending, forge.StatusFailure, forge.StatusError} {
		if state != "" {
			set(state)
		}
		if err := world.ann.Merge(repo, n); err == nil {
			t.Fatalf("merged with status %q", state)
		}
	}
	set(forge.StatusSuccess)
	var st struct {
		Statuses []struct {
			Context, Description string
			TargetURL            string `json:"target_url"`
		}
	}
	if err := s.Admin.API("GET", "/repos/"+repo+"/commits/"+head+"/status", nil, &st); err != nil || len(st.Statuses) != 1 || st.Statuses[0].Context != "trueup/plan" || st.Statuses[0].TargetURL == "" {
		t.Errorf("%+v, %v", st, err)
	}
	if err := world.ann.Merge(repo, n); err != nil {
		t.Errorf("with a green status: %v", err)
	}
}

func TestReviews(t *testing.T) {
	s, repo, f := repository(t, "reviews", nil)
	s.Collaborate(repo, world.bob, "write")
	head := world.ann.Commit(repo, "main", "change", "change", map[string]string{"a": "1"})
	n := world.ann.Pull(repo, "change", "main", "A change")
	states := func() string {
		var out []string
		for _, r := range must(f.Reviews(t.Context(), n))(t) {
			out = append(out, fmt.Sprint(r.User, " ", r.State, " ", r.Commit == head, " ", r.Stale))
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	world.bob.Review(repo, n, "APPROVED", "fine")
	world.eve.Review(repo, n, "COMMENT", "hm")
	world.bob.Review(repo, n, "COMMENT", "by the way")
	if got := states(); got != "bob approved true false, eve commented true false" {
		t.Error(got)
	}
	world.eve.Review(repo, n, "REQUEST_CHANGES", "no")
	if got := states(); got != "bob approved true false, eve rejected true false" {
		t.Error(got)
	}
	world.ann.Commit(repo, "change", "", "more", map[string]string{"a": "2"})
	eventually(t, func() string {
		if got := states(); got != "bob approved true true, eve rejected true true" {
			return "after a push that changes the content: " + got
		}
		return ""
	})
}

func TestCommentsAndReactions(t *testing.T) {
	s, repo, f := repository(t, "comments", nil)
	ctx := t.Context()
	world.ann.Commit(repo, "main", "change", "change", map[string]string{"a": "1"})
	n := world.ann.Pull(repo, "change", "main", "A change")
	c := must(f.Add(ctx, n, "<details><summary>Plan</summary>\n\nÄ ✓ 1\n</details>"))(t)
	if !c.Own || c.ID == "" || c.Author != "trueup-bot" {
		t.Errorf("%+v", c)
	}
	if err := f.Edit(ctx, n, c.ID, "Plan 2"); err != nil {
		t.Fatal(err)
	}
	theirs := world.ann.Comment(repo, n, "trueup plan")
	id := fmt.Sprint(theirs)
	for _, r := range []forge.Reaction{forge.Seen, forge.Done, forge.Refused, forge.Seen} {
		if err := f.React(ctx, n, id, r); err != nil {
			t.Errorf("%s: %v", r, err)
		}
	}
	var reactions []struct{ Content string }
	if err := s.Admin.API("GET", fmt.Sprintf("/repos/%s/issues/comments/%s/reactions", repo, id), nil, &reactions); err != nil || len(reactions) != 3 {
		t.Errorf("%+v, %v", reactions, err)
	}
	list := must(f.List(ctx, n))(t)
	if len(list) != 2 || list[0].Body != "Plan 2" || !list[0].Own || list[1].Own || list[1].Author != "ann" || list[1].ID != id {
		t.Errorf("%+v", list)
	}
	if _, err := f.Add(ctx, 999, "x"); err == nil {
		t.Error("a comment on nothing")
	}
	if err := f.Edit(ctx, n, "0", "x"); !errors.Is(err, forge.ErrNotFound) {
		t.Error(err)
	}
}

func TestPeople(t *testing.T) {
	s, repo, f := repository(t, "people", nil)
	ctx := t.Context()
	s.Collaborate(repo, world.eve, "read")
	for user, want := range map[string]forge.Permission{s.Admin.Name: forge.CanAdmin, "trueup-bot": forge.CanAdmin, "ann": forge.CanWrite, "eve": forge.CanRead} {
		if got, err := f.Permission(ctx, user); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", user, got, err, want)
		}
	}
	mine := s.Repo(s.Admin.Name+"/mine", nil)
	s.Collaborate(mine, world.bot, "admin")
	if got, err := as(t, mine, world.bot.Token).Permission(ctx, "eve"); err != nil || got != forge.CanRead {
		t.Errorf("in a person's repository: %d, %v", got, err)
	}
	if got, err := f.Permission(ctx, "nobody-at-all"); !errors.Is(err, forge.ErrNotFound) || got != forge.NoAccess {
		t.Errorf("%d, %v", got, err)
	}
	s.Team("acme", "admins", "admin", world.bob)
	if got, err := f.Permission(ctx, "bob"); err != nil || got != forge.CanAdmin {
		t.Errorf("by an administrators' team: %d, %v", got, err)
	}
	s.Team("acme", "writers", "write", world.carl)
	if got, err := f.Permission(ctx, "carl"); !errors.Is(err, forge.ErrDenied) || got > forge.CanRead || !strings.Contains(err.Error(), "own the organisation") {
		t.Errorf("by a team that can't be looked into: %d, %v", got, err)
	}
	if _, err := as(t, repo, world.eve.Token).Permission(ctx, "ann"); !errors.Is(err, forge.ErrDenied) || !strings.Contains(err.Error(), "administrator") {
		t.Error(err)
	}
	for _, c := range []struct {
		team, user string
		in, fails  bool
	}{
		{"acme/sre", "ann", true, false}, {"acme/SRE", "ann", true, false}, {"acme/sre", "eve", false, false}, {"acme/sre", "nobody-at-all", false, false},
		{"acme/other", "bob", false, true}, // the bot is in no position to ask
		{"acme/none", "ann", false, true}, {"nowhere/sre", "ann", false, true}, {"sre", "ann", false, true},
	} {
		in, err := f.InTeam(ctx, c.team, c.user)
		if in != c.in || (err != nil) != c.fails {
			t.Errorf("%s in %s: %v, %v", c.user, c.team, in, err)
		}
	}
}

func TestPropose(t *testing.T) {
	_, repo, f := repository(t, "propose", nil)
	ctx := t.Context()
	world.bot.Commit(repo, "main", "promote/x", "promote", map[string]string{"a": "1"})
	p := must(f.Propose(ctx, forge.Proposal{Base: "main", Head: "promote/x", Title: "Promote", Body: "one", Labels: []string{"trueup", "dns"}, Draft: true}))(t)
	if !p.Draft || p.Head != "promote/x" || p.Author != "trueup-bot" || len(p.Labels) != 2 {
		t.Errorf("%+v", p)
	}
	again := must(f.Propose(ctx, forge.Proposal{Base: "main", Head: "promote/x", Title: "Promote more", Body: "two", Labels: []string{"trueup"}}))(t)
	if again.Number != p.Number || again.Title != "Promote more" || again.Draft {
		t.Errorf("%+v", again)
	}
	if _, err := f.Propose(ctx, forge.Proposal{Base: "main", Head: "no-such", Title: "x"}); err == nil {
		t.Error("a branch that is not there was proposed")
	}
}

func TestExamine(t *testing.T) {
	s, repo, f := repository(t, "examine", nil)
	ctx := t.Context()
	if st := must(f.Examine(ctx))(t); st.Account != "trueup-bot" || len(st.Missing) != 0 {
		t.Errorf("%+v", st)
	}
	s.Collaborate(repo, world.eve, "read")
	if st := must(as(t, repo, world.eve.Token).Examine(ctx))(t); len(st.Missing) != 2 {
		t.Errorf("%+v", st)
	}
	bad := strings.Repeat("ab", 20)
	if _, err := as(t, repo, bad).Examine(ctx); !errors.Is(err, forge.ErrDenied) || strings.Contains(err.Error(), bad) {
		t.Errorf("a wrong token: %v", err)
	}
	narrow := world.bot.NewToken("narrow", "read:repository")
	if _, err := as(t, repo, narrow).Examine(ctx); !errors.Is(err, forge.ErrDenied) || !strings.Contains(err.Error(), "read:user") {
		t.Errorf("a token without the scope: %v", err)
	}
	if _, err := as(t, repo, narrow).Add(ctx, 1, "x"); !errors.Is(err, forge.ErrDenied) {
		t.Errorf("a token that may only read: %v", err)
	}
}
