package gitlab

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

// states are GitLab's words for the states of a commit status.
var states = map[forge.StatusState]string{forge.StatusPending: "pending", forge.StatusSuccess: "success",
	forge.StatusFailure: "failed", forge.StatusError: "failed"}

// maxDescription is GitLab's limit of a status' description.
const maxDescription = 255

// SetStatus sets the status of a commit ("Commits API", set the pipeline
// status of a commit). A status belongs to a pipeline: it is put into the one
// that the merge request shows where there is one, else GitLab makes one.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	state, ok := states[s.State]
	if !ok {
		return fmt.Errorf("GitLab has no status %q", s.State)
	}
	body := map[string]any{"state": state, "name": s.Context, "description": forge.Shorten(s.Description, maxDescription)}
	if s.URL != "" {
		body["target_url"] = s.URL
	}
	pipeline, err := f.pipeline(ctx, s.Commit, s.Ref)
	if err != nil {
		return fmt.Errorf("status %s of %.12s: %w", s.Context, s.Commit, err)
	}
	switch {
	case pipeline != 0:
		body["pipeline_id"] = pipeline
	case s.Ref != "":
		body["ref"] = strings.TrimPrefix(s.Ref, "refs/heads/")
	}
	err = f.send(rest.Repeatable(ctx), http.MethodPost, f.root+"/statuses/"+pathPart(s.Commit), body, nil)
	// A status that is pending or running already can't become so again.
	var refused *rest.Error
	if errors.As(err, &refused) && s.State == forge.StatusPending && strings.Contains(refused.Message, "Cannot transition status via") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status %s of %.12s: %w", s.Context, s.Commit, err)
	}
	return nil
}

// pipeline chooses among a commit's pipelines: that of a merge request or a
// merge train, because it decides about the merge, else one of the ref, else
// the newest; 0 where there is none.
func (f *Forge) pipeline(ctx context.Context, commit, ref string) (int, error) {
	var list []struct {
		ID  int    `json:"id"`
		Ref string `json:"ref"`
	}
	if err := f.get(ctx, f.root+"/pipelines", query("sha", commit, "order_by", "id", "sort", "desc", "per_page", "100"), &list); err != nil {
		return 0, err
	}
	for _, p := range list {
		if strings.HasPrefix(p.Ref, "refs/merge-requests/") {
			return p.ID, nil
		}
	}
	for _, p := range list {
		if p.Ref == strings.TrimPrefix(ref, "refs/heads/") {
			return p.ID, nil
		}
	}
	if len(list) > 0 && ref == "" {
		return list[0].ID, nil
	}
	return 0, nil
}

// member is somebody's membership ("Members API").
type member struct {
	State  string `json:"state"`
	Access int    `json:"access_level"`
}

// membership gives a user's access in a project or group with what is
// inherited; found is false for one who is no member.
func (f *Forge) membership(ctx context.Context, path, name string) (m member, found bool, err error) {
	var users []user
	if err := f.get(ctx, "/users", query("username", name), &users); err != nil {
		return m, false, fmt.Errorf("user %s: %w", name, err)
	}
	for _, u := range users {
		if !strings.EqualFold(u.Username, name) {
			continue
		}
		err := f.get(ctx, path+"/members/all/"+strconv.Itoa(u.ID), nil, &m)
		if errors.Is(err, forge.ErrNotFound) {
			return m, false, nil
		}
		if err != nil {
			return m, false, fmt.Errorf("membership of %s: %w", name, err)
		}
		return m, m.State == "active", nil
	}
	return m, false, nil
}

// The access levels ("Members API", roles).
const (
	reporter   = 20
	developer  = 30
	maintainer = 40
	owner      = 50
)

// Permission gives what a user may do. Who is no member may read what is
// public or internal.
func (f *Forge) Permission(ctx context.Context, name string) (forge.Permission, error) {
	m, found, err := f.membership(ctx, f.root, name)
	if err != nil {
		return forge.NoAccess, err
	}
	if found {
		switch {
		case m.Access >= owner:
			return forge.CanAdmin, nil
		case m.Access >= maintainer:
			return forge.CanMaintain, nil
		case m.Access >= developer:
			return forge.CanWrite, nil
		case m.Access >= reporter:
			return forge.CanTriage, nil
		}
	}
	var project struct {
		Visibility string `json:"visibility"`
	}
	if err := f.get(ctx, f.root, nil, &project); err != nil {
		return forge.NoAccess, fmt.Errorf("project %s: %w", f.info.Project, err)
	}
	if found && m.Access > 0 || project.Visibility == "public" || project.Visibility == "internal" {
		return forge.CanRead, nil
	}
	return forge.NoAccess, nil
}

// InTeam tells whether a user belongs to a group, named by its full path.
func (f *Forge) InTeam(ctx context.Context, team, name string) (bool, error) {
	path := "/groups/" + url.PathEscape(team)
	// A missing group looks like a missing member: it is asked for first.
	if err := f.get(ctx, path, query("with_projects", "false"), nil); err != nil {
		return false, fmt.Errorf("group %s: %w", team, err)
	}
	_, found, err := f.membership(ctx, path, name)
	return found, err
}

// RequiredStatuses gives "*" where the project merges only after every status
// of the pipeline is green; GitLab does not ask for single statuses.
func (f *Forge) RequiredStatuses(ctx context.Context, _ string) ([]string, error) {
	var project struct {
		Pipeline bool `json:"only_allow_merge_if_pipeline_succeeds"`
	}
	if err := f.get(ctx, f.root, nil, &project); err != nil {
		return nil, fmt.Errorf("project %s: %w", f.info.Project, err)
	}
	if project.Pipeline {
		return []string{"*"}, nil
	}
	return nil, nil
}
