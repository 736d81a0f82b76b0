package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Permission gives what a user may do with the repository. Gitea tells that to
// administrators of the repository alone, and leaves out what comes from
// teams; those are asked one by one.
func (f *Forge) Permission(ctx context.Context, user string) (forge.Permission, error) {
	var p struct {
		Permission string `json:"permission"`
	}
	if err := f.get(ctx, f.path("collaborators", user, "permission"), nil, &p); err != nil {
		if errors.Is(err, forge.ErrDenied) {
			err = fmt.Errorf("%w: trueup's account has to be an administrator of the repository to ask", err)
		}
		return forge.NoAccess, fmt.Errorf("permission of %s: %w", user, err)
	}
	own := forge.NoAccess
	switch p.Permission {
	case "owner", "admin":
		return forge.CanAdmin, nil
	case "write":
		return forge.CanWrite, nil
	case "read":
		own = forge.CanRead
	}
	writes, err := f.writesByTeam(ctx, user)
	if err != nil {
		return own, fmt.Errorf("permission of %s: %w", user, err)
	}
	if writes {
		return forge.CanWrite, nil
	}
	return own, nil
}

// team is a team as the API tells of it.
type team struct {
	ID    int64             `json:"id"`
	Name  string            `json:"name"`
	Right string            `json:"permission"`
	Units map[string]string `json:"units_map"`
}

// writesByTeam tells whether one of the repository's teams lets the user write
// its code.
func (f *Forge) writesByTeam(ctx context.Context, user string) (bool, error) {
	teams, err := pages[team](ctx, f, f.path("teams"), nil)
	var status *rest.Error
	if errors.As(err, &status) && status.Status == http.StatusMethodNotAllowed {
		return false, nil // it belongs to a person, not to an organisation
	}
	var trouble error
	for _, t := range teams {
		// The administrators among the teams were in the first answer.
		if t.Right == "admin" || t.Right == "owner" || t.Units["repo.code"] != "write" && t.Units["repo.code"] != "admin" {
			continue
		}
		in, merr := f.member(ctx, t.ID, user)
		if in {
			return true, nil
		}
		if merr != nil && trouble == nil {
			trouble = fmt.Errorf("team %s: %w", t.Name, merr)
		}
	}
	return false, errors.Join(err, trouble)
}

// member tells whether a user belongs to a team.
func (f *Forge) member(ctx context.Context, id int64, user string) (bool, error) {
	err := f.get(ctx, rest.Path("teams", strconv.FormatInt(id, 10), "members", user), nil, nil)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, forge.ErrNotFound) {
		// Without a right to the team Gitea says this for everybody.
		if err = f.get(ctx, rest.Path("teams", strconv.FormatInt(id, 10)), nil, nil); err == nil {
			return false, nil
		}
	}
	if errors.Is(err, forge.ErrDenied) || errors.Is(err, forge.ErrNotFound) {
		err = fmt.Errorf("%w: trueup's account has to own the organisation, or belong to the team, to ask who is in it", err)
	}
	return false, err
}

// InTeam tells whether a user belongs to a team, "org/team".
func (f *Forge) InTeam(ctx context.Context, name, user string) (bool, error) {
	org, short, ok := strings.Cut(name, "/")
	if !ok || org == "" || short == "" || strings.Contains(short, "/") {
		return false, fmt.Errorf("team %q: write organisation/team", name)
	}
	teams, err := pages[team](ctx, f, rest.Path("orgs", org, "teams"), nil)
	if err != nil {
		return false, fmt.Errorf("team %s: %w", name, err)
	}
	for _, t := range teams {
		if strings.EqualFold(t.Name, short) {
			in, err := f.member(ctx, t.ID, user)
			if err != nil {
				return false, fmt.Errorf("team %s: %w", name, err)
			}
			return in, nil
		}
	}
	return false, fmt.Errorf("team %s: the organisation shows trueup's account no team of that name: %w", name, forge.ErrNotFound)
}

// Propose opens a pull request for a branch, or brings the open one up to date.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	what := fmt.Sprintf("pull request of %s into %s", p.Head, p.Base)
	labels, err := f.labels(ctx, p.Labels)
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%s: %w", what, err)
	}
	open, err := pages[pull](ctx, f, f.path("pulls"), url.Values{"state": {"open"}, "sort": {"oldest"}})
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%s: %w", what, err)
	}
	title := p.Title
	if p.Draft && !strings.HasPrefix(title, "WIP:") {
		title = "WIP: " + title // that is how Gitea knows a draft
	}
	body := map[string]any{"title": title, "body": p.Body}
	call := rest.Call{Method: http.MethodPost, Path: f.path("pulls"), Body: body}
	for _, o := range open {
		if facts := o.facts(); facts.Head == p.Head && facts.Base == p.Base && !facts.Fork {
			call.Method, call.Path = http.MethodPatch, f.path("pulls", strconv.Itoa(o.Number))
		}
	}
	if call.Method == http.MethodPost {
		body["head"], body["base"] = p.Head, p.Base
	}
	if len(labels) > 0 {
		body["labels"] = labels
	}
	var made pull
	call.Into = &made
	if _, err := f.api.Do(ctx, call); err != nil {
		return forge.PullRequest{}, fmt.Errorf("%s: %w", what, err)
	}
	return f.PullRequest(ctx, made.Number)
}

// labels finds the ids of labels, and makes those that are not there.
func (f *Forge) labels(ctx context.Context, names []string) ([]int64, error) {
	if len(names) == 0 {
		return nil, nil
	}
	type label struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	list, err := pages[label](ctx, f, f.path("labels"), nil)
	if err != nil {
		return nil, err
	}
	ids := map[string]int64{}
	for _, l := range list {
		ids[l.Name] = l.ID
	}
	var out []int64
	for _, name := range names {
		if ids[name] == 0 {
			var made label
			call := rest.Call{Method: http.MethodPost, Path: f.path("labels"), Body: map[string]string{"name": name, "color": "#5319e7"}, Into: &made}
			if _, err := f.api.Do(ctx, call); err != nil {
				return nil, fmt.Errorf("label %s: %w", name, err)
			}
			ids[name] = made.ID
		}
		out = append(out, ids[name])
	}
	return out, nil
}
