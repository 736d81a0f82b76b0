package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// pullRequest is a pull request ("Pullrequests" of the REST API).
type pullRequest struct {
	ID           int           `json:"id"`
	Title        string        `json:"title"`
	Description  string        `json:"description"`
	State        string        `json:"state"`
	Draft        bool          `json:"draft"`
	Author       account       `json:"author"`
	Source       endpoint      `json:"source"`
	Destination  endpoint      `json:"destination"`
	MergeCommit  *hashed       `json:"merge_commit"`
	ClosedBy     *account      `json:"closed_by"`
	UpdatedOn    time.Time     `json:"updated_on"`
	Participants []participant `json:"participants"`
	Links        struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

type hashed struct {
	Hash string `json:"hash"`
}

// participant is somebody who took part; State is approved,
// changes_requested or nothing.
type participant struct {
	User     account   `json:"user"`
	Approved bool      `json:"approved"`
	State    string    `json:"state"`
	At       time.Time `json:"participated_on"`
}

// states turns Bitbucket's words into trueup's.
var states = map[string]string{"OPEN": "open", "MERGED": "merged", "DECLINED": "closed", "SUPERSEDED": "closed"}

func (f *Forge) pull(ctx context.Context, m *pullRequest) (forge.PullRequest, error) {
	p := forge.PullRequest{Number: m.ID, Title: m.Title, State: states[m.State], Draft: m.Draft, Author: m.Author.id(), URL: m.Links.HTML.Href,
		Base: m.Destination.Branch.Name, Head: m.Source.Branch.Name, UpdatedAt: m.UpdatedOn}
	if p.State == "" {
		return p, fmt.Errorf("pull request #%d has the state %.20q, which trueup does not know", m.ID, m.State)
	}
	if m.Source.Repository != nil {
		p.HeadProject = m.Source.Repository.FullName
	}
	p.Fork = !strings.EqualFold(p.HeadProject, f.info.Project)
	var err error
	if m.Source.Commit != nil && !p.Fork { // a fork's commit is not in this repository
		if p.HeadCommit, err = f.commit(ctx, m.Source.Commit.Hash); err != nil {
			return p, err
		}
	} else if m.Source.Commit != nil {
		p.HeadCommit = m.Source.Commit.Hash
	}
	if m.Destination.Commit != nil && p.State == "open" {
		if p.BaseCommit, err = f.commit(ctx, m.Destination.Commit.Hash); err != nil {
			return p, err
		}
	}
	if p.State == "merged" {
		if m.ClosedBy != nil {
			p.MergedBy = m.ClosedBy.id()
		}
		if m.MergeCommit != nil {
			p.MergeCommit, err = f.commit(ctx, m.MergeCommit.Hash)
		}
	}
	return p, err
}

// PullRequest reads a pull request.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	m, err := f.pullRequest(ctx, number)
	if err != nil {
		return forge.PullRequest{}, err
	}
	return f.pull(ctx, m)
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
	list, err := pages[pullRequest](ctx, f.c, f.path("pullrequests"), url.Values{"state": {"OPEN"}, "pagelen": {"50"}})
	if err != nil {
		return nil, fmt.Errorf("the open pull requests: %w", err)
	}
	out := make([]forge.PullRequest, 0, len(list))
	for i := range list {
		p, err := f.pull(ctx, &list[i])
		if errors.Is(err, forge.ErrNotFound) {
			continue // its branch was removed in between
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Files lists the changed paths by the diffstat, which is behind a redirect.
func (f *Forge) Files(ctx context.Context, number int) ([]forge.File, error) {
	type side struct {
		Path string `json:"path"`
	}
	type stat struct {
		Status string `json:"status"`
		Old    *side  `json:"old"`
		New    *side  `json:"new"`
	}
	list, err := pages[stat](ctx, f.c, f.pr(number, "diffstat"), url.Values{"pagelen": {"100"}})
	if err != nil {
		return nil, fmt.Errorf("the files of pull request #%d: %w", number, err)
	}
	out := make([]forge.File, 0, len(list))
	for _, d := range list {
		var file forge.File
		switch {
		case d.New == nil && d.Old == nil:
			return nil, fmt.Errorf("pull request #%d changes a file without a name", number)
		case d.New == nil:
			file = forge.File{Path: d.Old.Path, Status: "removed"}
		case d.Old == nil:
			file = forge.File{Path: d.New.Path, Status: "added"}
		case d.Old.Path != d.New.Path:
			file = forge.File{Path: d.New.Path, OldPath: d.Old.Path, Status: "renamed"}
		default:
			file = forge.File{Path: d.New.Path, Status: "modified"}
		}
		out = append(out, file)
	}
	return out, nil
}

// Reviews gives what the participants said. Bitbucket does not tell which
// commit they looked at.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	m, err := f.pullRequest(ctx, number)
	if err != nil {
		return nil, err
	}
	var out []forge.Review
	for _, p := range m.Participants {
		r := forge.Review{User: p.User.id(), At: p.At, URL: m.Links.HTML.Href}
		switch {
		case p.State == "changes_requested":
			r.State = "rejected"
		case p.Approved || p.State == "approved":
			r.State = "approved"
		default:
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

// recent is how many merged pull requests are looked at where Bitbucket has
// no index from commits to pull requests.
const recent = 50

// MergedBy finds the pull request that brought a commit. Bitbucket knows that
// where the app "Pull Request Commit Links" is installed; elsewhere the last
// merged ones are compared.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	list, err := pages[pullRequest](ctx, f.c, f.path("commit", commit, "pullrequests"), url.Values{"pagelen": {"50"}})
	if err != nil && !errors.Is(err, forge.ErrNotFound) {
		return forge.PullRequest{}, fmt.Errorf("the pull request of commit %.12s: %w", commit, err)
	}
	for i := range list {
		m, err := f.pullRequest(ctx, list[i].ID) // the index tells no more than the number
		if err != nil {
			return forge.PullRequest{}, err
		}
		if m.State == "MERGED" {
			return f.pull(ctx, m)
		}
	}
	var page struct {
		Values []pullRequest `json:"values"`
	}
	q := url.Values{"state": {"MERGED"}, "sort": {"-updated_on"}, "pagelen": {fmt.Sprint(recent)}}
	if err := f.get(ctx, f.path("pullrequests"), q, &page); err != nil {
		return forge.PullRequest{}, fmt.Errorf("the merged pull requests: %w", err)
	}
	for i := range page.Values {
		m := &page.Values[i]
		if m.MergeCommit != nil && m.MergeCommit.Hash != "" && strings.HasPrefix(commit, m.MergeCommit.Hash) {
			return f.pull(ctx, m)
		}
	}
	return forge.PullRequest{}, fmt.Errorf("commit %.12s came without a pull request: %w", commit, forge.ErrNotFound)
}

// Propose opens a pull request, or brings the text of the open one up to date.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	q := fmt.Sprintf("source.branch.name = %s AND destination.branch.name = %s AND state = \"OPEN\"", quoted(p.Head), quoted(p.Base))
	list, err := pages[pullRequest](ctx, f.c, f.path("pullrequests"), url.Values{"q": {q}, "pagelen": {"50"}})
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("the pull requests of %s: %w", p.Head, err)
	}
	for i := range list {
		m := &list[i]
		if m.Source.Repository == nil || !strings.EqualFold(m.Source.Repository.FullName, f.info.Project) {
			continue
		}
		if m.Title != p.Title || strings.TrimSpace(m.Description) != strings.TrimSpace(p.Body) {
			body := map[string]any{"title": p.Title, "description": p.Body}
			if err := f.send(rest.Repeatable(ctx), "PUT", f.pr(m.ID), body, m); err != nil {
				return forge.PullRequest{}, fmt.Errorf("update pull request #%d: %w", m.ID, err)
			}
		}
		return f.pull(ctx, m)
	}
	branch := func(name string) map[string]any { return map[string]any{"branch": map[string]any{"name": name}} }
	body := map[string]any{"title": p.Title, "description": p.Body, "source": branch(p.Head), "destination": branch(p.Base), "close_source_branch": true}
	if p.Draft {
		body["draft"] = true
	}
	var m pullRequest
	if err := f.send(ctx, "POST", f.path("pullrequests"), body, &m); err != nil {
		return forge.PullRequest{}, fmt.Errorf("open a pull request of %s: %w", p.Head, err)
	}
	return f.pull(ctx, &m)
}

// quoted is a text of Bitbucket's query language.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
