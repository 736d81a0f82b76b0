package gitea

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

// pull is a pull request as the API tells of it.
type pull struct {
	Number       int       `json:"number"`
	Title        string    `json:"title"`
	State        string    `json:"state"`
	Draft        bool      `json:"draft"`
	User         *user     `json:"user"`
	HTMLURL      string    `json:"html_url"`
	Base         branch    `json:"base"`
	Head         branch    `json:"head"`
	Merged       bool      `json:"merged"`
	MergeCommit  string    `json:"merge_commit_sha"`
	MergedBy     *user     `json:"merged_by"`
	UpdatedAt    time.Time `json:"updated_at"`
	ChangedFiles int       `json:"changed_files"`
	Labels       []struct {
		Name string `json:"name"`
	} `json:"labels"`
}

type branch struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *struct {
		FullName string `json:"full_name"`
	} `json:"repo"`
}

func (b branch) project() string {
	if b.Repo == nil {
		return ""
	}
	return b.Repo.FullName
}

// facts takes over what Gitea tells of a pull request.
func (p pull) facts() forge.PullRequest {
	out := forge.PullRequest{Number: p.Number, Title: p.Title, State: p.State, Draft: p.Draft, Author: p.User.name(), URL: p.HTMLURL,
		Base: p.Base.Ref, BaseCommit: p.Base.SHA, Head: strings.TrimPrefix(p.Head.Ref, "refs/heads/"), HeadCommit: p.Head.SHA,
		HeadProject: p.Head.project(), UpdatedAt: p.UpdatedAt}
	out.Fork = !strings.EqualFold(out.HeadProject, p.Base.project())
	if p.Merged {
		out.State, out.MergeCommit, out.MergedBy = "merged", p.MergeCommit, p.MergedBy.name()
	}
	for _, l := range p.Labels {
		out.Labels = append(out.Labels, l.Name)
	}
	return out
}

// PullRequest reads one pull request.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	p, err := f.pull(ctx, number)
	return p.facts(), err
}

func (f *Forge) pull(ctx context.Context, number int) (pull, error) {
	var p pull
	if err := f.get(ctx, f.path("pulls", strconv.Itoa(number)), nil, &p); err != nil {
		return pull{}, fmt.Errorf("pull request %d: %w", number, err)
	}
	if p.Number != number || p.Head.SHA == "" || p.Base.Ref == "" {
		return pull{}, fmt.Errorf("pull request %d: Gitea's answer is not about it", number)
	}
	return p, nil
}

// Open lists the open pull requests.
func (f *Forge) Open(ctx context.Context) ([]forge.PullRequest, error) {
	list, err := pages[pull](ctx, f, f.path("pulls"), url.Values{"state": {"open"}, "sort": {"oldest"}})
	if err != nil {
		return nil, fmt.Errorf("open pull requests: %w", err)
	}
	var out []forge.PullRequest
	for _, p := range list {
		out = append(out, p.facts())
	}
	return out, nil
}

// Files lists the paths that a pull request changes.
func (f *Forge) Files(ctx context.Context, number int) ([]forge.File, error) {
	p, err := f.pull(ctx, number)
	if err != nil {
		return nil, err
	}
	list, err := pages[struct {
		Name   string `json:"filename"`
		Old    string `json:"previous_filename"`
		Status string `json:"status"`
	}](ctx, f, f.path("pulls", strconv.Itoa(number), "files"), nil)
	if err != nil {
		return nil, fmt.Errorf("files of pull request %d: %w", number, err)
	}
	if len(list) < p.ChangedFiles {
		return nil, fmt.Errorf("pull request %d changes %d files and Gitea lists %d of them: %w", number, p.ChangedFiles, len(list), forge.ErrIncomplete)
	}
	var out []forge.File
	for _, c := range list {
		file := forge.File{Path: c.Name, OldPath: c.Old, Status: c.Status}
		switch c.Status {
		case "added", "renamed":
		case "copied":
			file.Status, file.OldPath = "added", ""
		case "deleted", "removed":
			file.Status = "removed"
		default:
			file.Status = "modified"
		}
		out = append(out, file)
	}
	return out, nil
}

// review is a review as the API tells of it.
type review struct {
	User      *user     `json:"user"`
	State     string    `json:"state"`
	Commit    string    `json:"commit_id"`
	Stale     bool      `json:"stale"` // the pull request's content has changed since
	Dismissed bool      `json:"dismissed"`
	HTMLURL   string    `json:"html_url"`
	Submitted time.Time `json:"submitted_at"`
}

// Reviews gives the last standing of each reviewer. A comment does not take
// back what its author said before.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	list, err := pages[review](ctx, f, f.path("pulls", strconv.Itoa(number), "reviews"), nil)
	if err != nil {
		return nil, fmt.Errorf("reviews of pull request %d: %w", number, err)
	}
	var out []forge.Review
	place := map[string]int{}
	for _, r := range list {
		one := forge.Review{User: r.User.name(), Commit: r.Commit, Stale: r.Stale || r.Dismissed, At: r.Submitted, URL: r.HTMLURL}
		switch r.State {
		case "APPROVED":
			one.State = "approved"
		case "REQUEST_CHANGES":
			one.State = "rejected"
		case "COMMENT":
			one.State = "commented"
		default: // pending, or a review that was asked for
			continue
		}
		at, known := place[one.User]
		switch {
		case one.User == "": // an account that is gone stands for nothing
		case !known:
			place[one.User] = len(out)
			out = append(out, one)
		case one.State == "commented" && out[at].State != "commented":
		default:
			out[at] = one
		}
	}
	return out, nil
}

// MergedBy gives the merged pull request that brought a commit to its base
// branch.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	var p pull
	if err := f.get(ctx, f.path("commits", commit, "pull"), nil, &p); err != nil {
		return forge.PullRequest{}, fmt.Errorf("pull request of commit %s: %w", commit, err)
	}
	if !p.Merged || p.Number == 0 {
		return forge.PullRequest{}, fmt.Errorf("no merged pull request brought commit %s: %w", commit, forge.ErrNotFound)
	}
	return p.facts(), nil
}
