package bitbucketdc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// builds are the server's words for the states of a build.
var builds = map[forge.StatusState]string{forge.StatusPending: "INPROGRESS", forge.StatusSuccess: "SUCCESSFUL",
	forge.StatusFailure: "FAILED", forge.StatusError: "FAILED"}

// maxText is the server's limit of keys, names and descriptions.
const maxText = 255

// SetStatus sets a build status ("Builds and Deployments", from version 7.14);
// the same key replaces the one before. parent is what required builds name.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	state, ok := builds[s.State]
	if !ok {
		return fmt.Errorf("status %q is none of Bitbucket's", s.State)
	}
	body := map[string]any{"key": s.Context, "parent": s.Context, "name": s.Context, "state": state, "description": shorten(s.Description), "url": s.URL}
	if s.URL == "" {
		body["url"] = f.info.WebURL + "/commits/" + s.Commit
	}
	if s.Ref != "" {
		body["ref"] = fullRef(s.Ref)
	}
	if err := f.send(rest.Repeatable(ctx), http.MethodPost, f.repo(core, "commits", s.Commit, "builds"), body, nil); err != nil {
		return fmt.Errorf("status %s of %.12s: %w", s.Context, s.Commit, err)
	}
	return nil
}

func fullRef(ref string) string {
	if strings.HasPrefix(ref, "refs/") {
		return ref
	}
	return "refs/heads/" + ref
}

func shorten(s string) string { return forge.Shorten(s, maxText) }

// rights are the permissions of repositories, from the greatest down.
var rights = []struct {
	name string
	is   forge.Permission
}{{"REPO_ADMIN", forge.CanAdmin}, {"REPO_WRITE", forge.CanWrite}, {"REPO_READ", forge.CanRead}}

// Permission gives a user's permission as it counts in the end, with that of
// groups, projects and administrators ("Permissions", users with a
// permission).
func (f *Forge) Permission(ctx context.Context, name string) (forge.Permission, error) {
	for _, r := range rights {
		yes, err := f.among(ctx, name, url.Values{"permission.1": {r.name}, "permission.1.projectKey": {f.key}, "permission.1.repositorySlug": {f.slug}})
		if err != nil {
			return forge.NoAccess, fmt.Errorf("the permission of %s: %w", name, err)
		}
		if yes {
			return r.is, nil
		}
	}
	return forge.NoAccess, nil
}

// among tells whether a user is on a filtered list of all users. The filter
// finds parts of names too; only the name itself counts.
func (f *Forge) among(ctx context.Context, name string, q url.Values) (bool, error) {
	if name == "" {
		return false, nil
	}
	q.Set("filter", name)
	list, err := pages[user](ctx, f.c, "/"+core+"/users", q)
	if err != nil {
		return false, err
	}
	for _, u := range list {
		if strings.EqualFold(u.Name, name) { // names are the same in any case
			return true, nil
		}
	}
	return false, nil
}

// InTeam tells whether a user belongs to a group of the server.
func (f *Forge) InTeam(ctx context.Context, team, name string) (bool, error) {
	// A missing group has no members, and would look like a no.
	var groups struct {
		Values []string `json:"values"`
	}
	if err := f.get(ctx, "/"+core+"/groups", url.Values{"filter": {team}, "limit": {"1000"}}, &groups); err != nil {
		return false, fmt.Errorf("group %s: %w", team, err)
	}
	found := false
	for _, g := range groups.Values {
		found = found || strings.EqualFold(g, team)
	}
	if !found {
		return false, fmt.Errorf("group %s: %w", team, forge.ErrNotFound)
	}
	yes, err := f.among(ctx, name, url.Values{"group": {team}})
	if err != nil {
		return false, fmt.Errorf("members of %s: %w", team, err)
	}
	return yes, nil
}

// RequiredStatuses gives the builds that a merge into the branch asks for
// ("Builds and Deployments", required builds merge checks).
func (f *Forge) RequiredStatuses(ctx context.Context, branch string) ([]string, error) {
	type condition struct {
		Keys []string `json:"buildParentKeys"`
		Refs struct {
			ID   string `json:"id"`
			Type struct {
				ID string `json:"id"`
			} `json:"type"`
		} `json:"refMatcher"`
	}
	list, err := pages[condition](ctx, f.c, f.repo("required-builds/latest", "conditions"), nil)
	if err != nil {
		return nil, fmt.Errorf("the required builds: %w", err)
	}
	var out []string
	for _, c := range list {
		switch c.Refs.Type.ID {
		case "ANY_REF":
		case "BRANCH":
			if c.Refs.ID != "refs/heads/"+branch {
				continue
			}
		case "PATTERN":
			if !matches(c.Refs.ID, branch) {
				continue
			}
		}
		out = append(out, c.Keys...)
	}
	return out, nil
}

// standing tells what the account may do: statuses and comments need no more
// than reading, pushing a branch needs writing, webhooks administrating.
func (f *Forge) standing(ctx context.Context, me string) (forge.Standing, error) {
	s := forge.Standing{Account: me, Kind: "HTTP access token"}
	if me == "" {
		s.Unknown = []string{"whose token it is"}
		return s, nil
	}
	p, err := f.Permission(ctx, me)
	if errors.Is(err, forge.ErrDenied) {
		s.Unknown = []string{"who may do what in the repository (a token of the repository can't list users; one of a person can)"}
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if p < forge.CanWrite {
		s.Missing = append(s.Missing, "repository write, for promotion and write-back")
	}
	if p < forge.CanAdmin {
		s.Missing = append(s.Missing, "repository admin, for trueup webhook install")
	}
	return s, nil
}
