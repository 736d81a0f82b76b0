package gitlab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// mergeRequest is a merge request ("Merge requests API").
//
//house:exception the fields are those of the API
type mergeRequest struct {
	IID           int       `json:"iid"`
	Title         string    `json:"title"`
	Description   string    `json:"description"`
	State         string    `json:"state"`
	Draft         bool      `json:"draft"`
	Author        user      `json:"author"`
	WebURL        string    `json:"web_url"`
	SourceBranch  string    `json:"source_branch"`
	TargetBranch  string    `json:"target_branch"`
	SHA           string    `json:"sha"`
	SourceProject int       `json:"source_project_id"`
	TargetProject int       `json:"target_project_id"`
	UpdatedAt     time.Time `json:"updated_at"`
	details
}

// details are the rest: what is known after the merge, and what one merge
// request alone tells.
type details struct {
	Labels       []string `json:"labels"`
	MergeCommit  string   `json:"merge_commit_sha"`
	SquashCommit string   `json:"squash_commit_sha"`
	MergeUser    *user    `json:"merge_user"`
	MergedBy     *user    `json:"merged_by"` // before GitLab 14.7
	ChangesCount string   `json:"changes_count"`
	DiffRefs     *struct {
		StartSHA string `json:"start_sha"`
	} `json:"diff_refs"`
}

func (f *Forge) pull(ctx context.Context, m *mergeRequest) (forge.PullRequest, error) {
	p := forge.PullRequest{Number: m.IID, Title: m.Title, State: m.State, Draft: m.Draft, Author: m.Author.Username, URL: m.WebURL,
		Base: m.TargetBranch, Head: m.SourceBranch, HeadCommit: m.SHA, HeadProject: f.info.Project, Fork: m.SourceProject != m.TargetProject,
		MergeCommit: m.MergeCommit, UpdatedAt: m.UpdatedAt, Labels: m.Labels}
	if m.State == "opened" || m.State == "locked" { // locked: being merged just now
		p.State = "open"
	}
	if m.DiffRefs != nil {
		p.BaseCommit = m.DiffRefs.StartSHA
	}
	if p.State == "merged" {
		p.MergeCommit = landed(m)
		for _, u := range []*user{m.MergedBy, m.MergeUser} {
			if u != nil {
				p.MergedBy = u.Username
			}
		}
	}
	var err error
	if p.Fork {
		p.HeadProject, err = f.pathOf(ctx, m.SourceProject)
	}
	return p, err
}

// landed gives the commit that a merge put on the target branch: the merge
// commit, else the squashed one, else the head (fast forward).
func landed(m *mergeRequest) string {
	for _, c := range []string{m.MergeCommit, m.SquashCommit} {
		if c != "" {
			return c
		}
	}
	return m.SHA
}

// PullRequest reads a merge request.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	m, err := f.mergeRequest(ctx, number)
	if err != nil {
		return forge.PullRequest{}, err
	}
	return f.pull(ctx, m)
}

func (f *Forge) mergeRequest(ctx context.Context, number int) (*mergeRequest, error) {
	var m mergeRequest
	if err := f.get(ctx, f.mr(number), nil, &m); err != nil {
		return nil, fmt.Errorf("merge request !%d: %w", number, err)
	}
	return &m, nil
}

// Open lists the open merge requests.
func (f *Forge) Open(ctx context.Context) ([]forge.PullRequest, error) {
	list, err := rest.Pages[mergeRequest](ctx, f.c, f.root+"/merge_requests",
		query("state", "opened", "scope", "all", "order_by", "created_at", "sort", "asc", "per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the open merge requests: %w", err)
	}
	out := make([]forge.PullRequest, 0, len(list))
	for i := range list {
		p, err := f.pull(ctx, &list[i])
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Files lists the changed paths. GitLab's diffs have a limit of files; a list
// that was cut short is an error, because less would be planned than changes.
func (f *Forge) Files(ctx context.Context, number int) ([]forge.File, error) {
	m, err := f.mergeRequest(ctx, number)
	if err != nil {
		return nil, err
	}
	type diff struct {
		Old     string `json:"old_path"`
		New     string `json:"new_path"`
		Added   bool   `json:"new_file"`
		Renamed bool   `json:"renamed_file"`
		Deleted bool   `json:"deleted_file"`
	}
	list, err := rest.Pages[diff](ctx, f.c, f.mr(number)+"/diffs", query("per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the files of merge request !%d: %w", number, err)
	}
	if n, err := strconv.Atoi(m.ChangesCount); strings.HasSuffix(m.ChangesCount, "+") || err == nil && len(list) < n {
		return nil, fmt.Errorf("merge request !%d changes %s files, of which GitLab lists %d: %w", number, m.ChangesCount, len(list), forge.ErrIncomplete)
	}
	out := make([]forge.File, 0, len(list))
	for _, d := range list {
		file := forge.File{Path: d.New, Status: "modified"}
		switch {
		case d.Added:
			file.Status = "added"
		case d.Deleted:
			file.Status = "removed"
		case d.Renamed:
			file.Status, file.OldPath = "renamed", d.Old
		}
		out = append(out, file)
	}
	return out, nil
}

// Reviews puts together who approved ("Merge request approvals API") and what
// the reviewers said. GitLab takes approvals away by itself where the project
// says so, and does not tell which commit was reviewed.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	var approvals struct {
		ApprovedBy []struct {
			User user      `json:"user"`
			At   time.Time `json:"approved_at"`
		} `json:"approved_by"`
	}
	if err := f.get(ctx, f.mr(number)+"/approvals", nil, &approvals); err != nil {
		return nil, fmt.Errorf("the approvals of merge request !%d: %w", number, err)
	}
	type reviewer struct {
		User  user      `json:"user"`
		State string    `json:"state"`
		At    time.Time `json:"created_at"`
	}
	reviewers, err := rest.Pages[reviewer](ctx, f.c, f.mr(number)+"/reviewers", query("per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the reviewers of merge request !%d: %w", number, err)
	}
	url := f.info.WebURL + "/-/merge_requests/" + strconv.Itoa(number)
	var out []forge.Review
	approved := map[string]bool{}
	for _, a := range approvals.ApprovedBy {
		approved[a.User.Username] = true
		out = append(out, forge.Review{User: a.User.Username, State: "approved", At: a.At, URL: url})
	}
	for _, r := range reviewers {
		state := map[string]string{"requested_changes": "rejected", "reviewed": "commented"}[r.State]
		if state != "" && !approved[r.User.Username] {
			out = append(out, forge.Review{User: r.User.Username, State: state, At: r.At, URL: url})
		}
	}
	return out, nil
}

// MergedBy finds the merge request that brought a commit.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	list, err := rest.Pages[mergeRequest](ctx, f.c, f.root+"/repository/commits/"+pathPart(commit)+"/merge_requests", query("per_page", "100"))
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("the merge request of commit %.12s: %w", commit, err)
	}
	var best *mergeRequest
	for i := range list {
		m := &list[i]
		if m.State != "merged" {
			continue
		}
		if best == nil || landed(m) == commit && landed(best) != commit {
			best = m
		}
	}
	if best == nil {
		return forge.PullRequest{}, fmt.Errorf("commit %.12s came without a merge request: %w", commit, forge.ErrNotFound)
	}
	return f.PullRequest(ctx, best.IID)
}
