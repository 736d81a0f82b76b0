package bitbucketdc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// pullRequest is a pull request ("Pull Requests" of the REST API).
type pullRequest struct {
	ID          int           `json:"id"`
	Version     int           `json:"version"`
	Title       string        `json:"title"`
	Description string        `json:"description"`
	State       string        `json:"state"`
	Draft       bool          `json:"draft"`
	Updated     int64         `json:"updatedDate"` // milliseconds
	From        ref           `json:"fromRef"`
	To          ref           `json:"toRef"`
	Author      participant   `json:"author"`
	Reviewers   []participant `json:"reviewers"`
	Properties  struct {
		MergeCommit struct {
			ID string `json:"id"`
		} `json:"mergeCommit"`
	} `json:"properties"`
	Links struct {
		Self []struct {
			Href string `json:"href"`
		} `json:"self"`
	} `json:"links"`
}

// participant is somebody in a pull request; Status is UNAPPROVED,
// NEEDS_WORK or APPROVED.
type participant struct {
	User         user   `json:"user"`
	Status       string `json:"status"`
	LastReviewed string `json:"lastReviewedCommit"`
}

func (m *pullRequest) url() string {
	if len(m.Links.Self) == 0 {
		return ""
	}
	return m.Links.Self[0].Href
}

// states turns the server's words into trueup's.
var states = map[string]string{"OPEN": "open", "MERGED": "merged", "DECLINED": "closed"}

func (f *Forge) pull(m *pullRequest) (forge.PullRequest, error) {
	p := forge.PullRequest{Number: m.ID, Title: m.Title, State: states[m.State], Draft: m.Draft, Author: m.Author.User.Name, URL: m.url(),
		Base: m.To.branch(), BaseCommit: m.To.LatestCommit, Head: m.From.branch(), HeadCommit: m.From.LatestCommit,
		HeadProject: m.From.Repository.path(), UpdatedAt: time.UnixMilli(m.Updated).UTC()}
	if p.State == "" {
		return p, fmt.Errorf("pull request #%d has the state %.20q, which trueup does not know", m.ID, m.State)
	}
	p.Fork = !strings.EqualFold(p.HeadProject, f.info.Project)
	if p.State == "merged" {
		p.MergeCommit = m.Properties.MergeCommit.ID
	}
	return p, nil
}

// PullRequest reads a pull request. Who merged it stands in its activities.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	m, err := f.pullRequest(ctx, number)
	if err != nil {
		return forge.PullRequest{}, err
	}
	p, err := f.pull(m)
	if err != nil || p.State != "merged" {
		return p, err
	}
	list, err := f.activities(ctx, number)
	if err != nil {
		return p, err
	}
	for _, a := range list {
		if a.Action == "MERGED" {
			p.MergedBy = a.User.Name
			if p.MergeCommit == "" {
				p.MergeCommit = a.Commit.ID
			}
		}
	}
	return p, nil
}

func (f *Forge) pullRequest(ctx context.Context, number int) (*pullRequest, error) {
	var m pullRequest
	if err := f.get(ctx, f.pr(number), nil, &m); err != nil {
		return nil, fmt.Errorf("pull request #%d: %w", number, err)
	}
	return &m, nil
}

// Open lists the open pull requests.
func (f *Forge) Open(ctx context.Context) ([]forge.PullRequest, error) {
	list, err := pages[pullRequest](ctx, f.c, f.repo(core, "pull-requests"), url.Values{"state": {"OPEN"}, "order": {"OLDEST"}})
	if err != nil {
		return nil, fmt.Errorf("the open pull requests: %w", err)
	}
	out := make([]forge.PullRequest, 0, len(list))
	for i := range list {
		p, err := f.pull(&list[i])
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// changes are the server's words for what happened to a file.
var changes = map[string]string{"ADD": "added", "COPY": "added", "MODIFY": "modified", "DELETE": "removed", "MOVE": "renamed"}

// Files lists the changed paths.
func (f *Forge) Files(ctx context.Context, number int) ([]forge.File, error) {
	type change struct {
		Type string `json:"type"`
		Path struct {
			Name string `json:"toString"`
		} `json:"path"`
		Old *struct {
			Name string `json:"toString"`
		} `json:"srcPath"`
	}
	list, err := pages[change](ctx, f.c, f.pr(number, "changes"), nil)
	if err != nil {
		return nil, fmt.Errorf("the files of pull request #%d: %w", number, err)
	}
	out := make([]forge.File, 0, len(list))
	for _, c := range list {
		file := forge.File{Path: c.Path.Name, Status: changes[c.Type]}
		if file.Status == "" {
			file.Status = "modified"
		}
		if c.Type == "MOVE" && c.Old != nil {
			file.OldPath = c.Old.Name
		}
		out = append(out, file)
	}
	return out, nil
}

// Reviews gives what the reviewers say now. When they said it stands among the
// activities: a review without its time would count for no plan.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	m, err := f.pullRequest(ctx, number)
	if err != nil {
		return nil, err
	}
	var out []forge.Review
	for _, r := range m.Reviewers {
		state := map[string]string{"APPROVED": "approved", "NEEDS_WORK": "rejected"}[r.Status]
		if state != "" {
			out = append(out, forge.Review{User: r.User.Name, State: state, Commit: r.LastReviewed, URL: m.url()})
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	list, err := f.activities(ctx, number)
	if err != nil {
		return nil, err
	}
	actions := map[string]string{"approved": "APPROVED", "rejected": "REVIEWED"}
	for i := range out {
		for _, a := range list { // the newest first
			if a.Action == actions[out[i].State] && a.User.Name == out[i].User {
				out[i].At = time.UnixMilli(a.Created).UTC()
				break
			}
		}
	}
	return out, nil
}

// MergedBy finds the pull request that brought a commit.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	list, err := pages[pullRequest](ctx, f.c, f.repo(core, "commits", commit, "pull-requests"), nil)
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("the pull request of commit %.12s: %w", commit, err)
	}
	var best *pullRequest
	for i := range list {
		m := &list[i]
		if m.State == "MERGED" && (best == nil || m.Properties.MergeCommit.ID == commit) {
			best = m
		}
	}
	if best == nil {
		return forge.PullRequest{}, fmt.Errorf("commit %.12s came without a pull request: %w", commit, forge.ErrNotFound)
	}
	return f.PullRequest(ctx, best.ID)
}

// Propose opens a pull request, or brings the text of the open one up to date.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	m, err := f.openOf(ctx, p)
	if err != nil {
		return forge.PullRequest{}, err
	}
	if m == nil {
		if m, err = f.create(ctx, p); err != nil {
			return forge.PullRequest{}, err
		}
		return f.pull(m)
	}
	if m.Title == p.Title && strings.TrimSpace(m.Description) == strings.TrimSpace(p.Body) {
		return f.pull(m)
	}
	var reviewers []map[string]any // those that are left out would be removed
	for _, r := range m.Reviewers {
		reviewers = append(reviewers, map[string]any{"user": map[string]any{"name": r.User.Name}})
	}
	body := map[string]any{"version": m.Version, "title": p.Title, "description": p.Body}
	if reviewers != nil {
		body["reviewers"] = reviewers
	}
	if err := f.send(ctx, http.MethodPut, f.pr(m.ID), body, m); err != nil {
		return forge.PullRequest{}, fmt.Errorf("update pull request #%d: %w", m.ID, err)
	}
	return f.pull(m)
}

func (f *Forge) openOf(ctx context.Context, p forge.Proposal) (*pullRequest, error) {
	q := url.Values{"state": {"OPEN"}, "direction": {"OUTGOING"}, "at": {"refs/heads/" + p.Head}}
	list, err := pages[pullRequest](ctx, f.c, f.repo(core, "pull-requests"), q)
	if err != nil {
		return nil, fmt.Errorf("the pull requests of %s: %w", p.Head, err)
	}
	i := slices.IndexFunc(list, func(m pullRequest) bool {
		return m.From.branch() == p.Head && m.To.branch() == p.Base && strings.EqualFold(m.To.Repository.path(), f.info.Project)
	})
	if i < 0 {
		return nil, nil
	}
	return &list[i], nil
}

func (f *Forge) create(ctx context.Context, p forge.Proposal) (*pullRequest, error) {
	side := func(branch string) map[string]any {
		return map[string]any{"id": "refs/heads/" + branch, "repository": map[string]any{"slug": f.slug, "project": map[string]any{"key": f.key}}}
	}
	body := map[string]any{"title": p.Title, "description": p.Body, "fromRef": side(p.Head), "toRef": side(p.Base)}
	if p.Draft {
		body["draft"] = true
	}
	var m pullRequest
	err := f.send(ctx, http.MethodPost, f.repo(core, "pull-requests"), body, &m)
	var refused *rest.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		// Another process was quicker.
		if there, lerr := f.openOf(ctx, p); lerr == nil && there != nil {
			return there, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open a pull request of %s: %w", p.Head, err)
	}
	return &m, nil
}
