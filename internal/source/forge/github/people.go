package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
)

// Permission gives what a user may do with the repository.
func (f *Forge) Permission(ctx context.Context, user string) (forge.Permission, error) {
	l, _, err := f.gh.Repositories.GetPermissionLevel(ctx, f.owner, f.name, url.PathEscape(user))
	if err != nil {
		return forge.NoAccess, fmt.Errorf("permission of %s: %w", user, f.fail(err))
	}
	// Custom roles have names of their own; the permission is the basic one
	// that they stand on, where maintain counts as write and triage as read.
	switch l.GetPermission() {
	case "admin":
		return forge.CanAdmin, nil
	case "write":
		if l.GetRoleName() == "maintain" {
			return forge.CanMaintain, nil
		}
		return forge.CanWrite, nil
	case "read":
		if l.GetRoleName() == "triage" {
			return forge.CanTriage, nil
		}
		return forge.CanRead, nil
	}
	return forge.NoAccess, nil
}

// InTeam tells whether a user belongs to a team, "org/team", or to one below
// it.
func (f *Forge) InTeam(ctx context.Context, team, user string) (bool, error) {
	org, slug, ok := strings.Cut(team, "/")
	if !ok || org == "" || slug == "" || strings.Contains(slug, "/") {
		return false, fmt.Errorf("team %q: write organisation/team, with the team's name as in its address", team)
	}
	m, _, err := f.gh.Teams.GetTeamMembershipBySlug(ctx, url.PathEscape(org), url.PathEscape(slug), url.PathEscape(user))
	if err == nil {
		return m.GetState() == "active", nil
	}
	if err = f.fail(err); !errors.Is(err, forge.ErrNotFound) {
		return false, fmt.Errorf("team %s: %w", team, err)
	}
	// 404 is for no member, and for a team that is hidden from us as well.
	if _, _, err := f.gh.Teams.GetTeamBySlug(ctx, url.PathEscape(org), url.PathEscape(slug)); err != nil {
		return false, fmt.Errorf("team %s can't be read (the credentials need the organisation's members: read): %w", team, f.fail(err))
	}
	return false, nil
}

// Propose opens a pull request for a branch, or brings the open one up to date.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	what := fmt.Sprintf("pull request of %s into %s", p.Head, p.Base)
	open, err := pages(f, what, func(o gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return f.gh.PullRequests.List(ctx, f.owner, f.name, &gh.PullRequestListOptions{State: "open", Head: f.owner + ":" + p.Head, Base: p.Base, ListOptions: o})
	})
	if err != nil {
		return forge.PullRequest{}, err
	}
	number := 0
	for _, o := range open {
		if o.GetHead().GetRef() == p.Head && o.GetBase().GetRef() == p.Base && !f.facts(o).Fork {
			number = o.GetNumber()
		}
	}
	if number != 0 {
		_, _, err = f.gh.PullRequests.Edit(ctx, f.owner, f.name, number, &gh.PullRequest{Title: &p.Title, Body: &p.Body})
	} else {
		var made *gh.PullRequest
		made, _, err = f.gh.PullRequests.Create(ctx, f.owner, f.name, &gh.NewPullRequest{Title: &p.Title, Head: &p.Head, Base: &p.Base, Body: &p.Body, Draft: &p.Draft})
		number = made.GetNumber()
	}
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%s: %w", what, f.fail(err))
	}
	if len(p.Labels) > 0 {
		// The SDK sends a bare list, which is not in GitHub's description.
		if err := f.call(ctx, http.MethodPost, fmt.Sprintf("issues/%d/labels", number), map[string][]string{"labels": p.Labels}, nil); err != nil {
			return forge.PullRequest{}, fmt.Errorf("labels of pull request %d: %w", number, err)
		}
	}
	return f.PullRequest(ctx, number)
}
