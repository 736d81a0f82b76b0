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
	"trueup.dev/trueup/internal/source/forge/rest"
)

// PullRequest reads one pull request.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	p, err := f.pull(ctx, number)
	if err != nil {
		return forge.PullRequest{}, err
	}
	return f.facts(p), nil
}

func (f *Forge) pull(ctx context.Context, number int) (*gh.PullRequest, error) {
	p, _, err := f.gh.PullRequests.Get(ctx, f.owner, f.name, number)
	if err != nil {
		return nil, fmt.Errorf("pull request %d: %w", number, f.fail(err))
	}
	if p.GetNumber() != number || p.GetHead().GetSHA() == "" || p.GetBase().GetRef() == "" {
		return nil, fmt.Errorf("pull request %d: GitHub's answer is not about it", number)
	}
	return p, nil
}

// facts takes over what GitHub tells of a pull request.
func (f *Forge) facts(p *gh.PullRequest) forge.PullRequest {
	out := forge.PullRequest{Number: p.GetNumber(), Title: p.GetTitle(), State: p.GetState(), Draft: p.GetDraft(), Author: p.GetUser().GetLogin(),
		URL: p.GetHTMLURL(), Base: p.GetBase().GetRef(), Head: p.GetHead().GetRef(), HeadCommit: p.GetHead().GetSHA(),
		BaseCommit: p.GetBase().GetSHA(), HeadProject: p.GetHead().GetRepo().GetFullName(), UpdatedAt: p.GetUpdatedAt().Time}
	base := p.GetBase().GetRepo().GetFullName()
	out.Fork = !strings.EqualFold(out.HeadProject, base)
	if p.GetMerged() || p.MergedAt != nil {
		// Until then merge_commit_sha is a commit that only tries the merge.
		out.State, out.MergeCommit, out.MergedBy = "merged", p.GetMergeCommitSHA(), p.GetMergedBy().GetLogin()
	}
	for _, l := range p.Labels {
		out.Labels = append(out.Labels, l.GetName())
	}
	return out
}

// Open lists the open pull requests.
func (f *Forge) Open(ctx context.Context) ([]forge.PullRequest, error) {
	list, err := pages(f, "open pull requests", func(o gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return f.gh.PullRequests.List(ctx, f.owner, f.name, &gh.PullRequestListOptions{State: "open", Sort: "created", Direction: "asc", ListOptions: o})
	})
	var out []forge.PullRequest
	for _, p := range list {
		out = append(out, f.facts(p))
	}
	return out, err
}

// Files lists the paths that a pull request changes. GitHub lists 3000 at
// most; a larger change is ErrIncomplete.
func (f *Forge) Files(ctx context.Context, number int) ([]forge.File, error) {
	p, err := f.pull(ctx, number)
	if err != nil {
		return nil, err
	}
	list, err := pages(f, fmt.Sprintf("files of pull request %d", number), func(o gh.ListOptions) ([]*gh.CommitFile, *gh.Response, error) {
		return f.gh.PullRequests.ListFiles(ctx, f.owner, f.name, number, &o)
	})
	if err != nil {
		return nil, err
	}
	if len(list) < p.GetChangedFiles() {
		return nil, fmt.Errorf("pull request %d changes %d files and GitHub lists %d of them: %w", number, p.GetChangedFiles(), len(list), forge.ErrIncomplete)
	}
	var out []forge.File
	for _, c := range list {
		file := forge.File{Path: c.GetFilename(), OldPath: c.GetPreviousFilename(), Status: c.GetStatus()}
		switch file.Status {
		case "added", "modified", "removed", "renamed":
		case "copied":
			file.Status, file.OldPath = "added", ""
		default:
			file.Status = "modified"
		}
		out = append(out, file)
	}
	return out, nil
}

// Reviews gives the last standing of each reviewer. A comment does not take
// back what its author said before; a dismissal does.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	list, err := pages(f, fmt.Sprintf("reviews of pull request %d", number), func(o gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return f.gh.PullRequests.ListReviews(ctx, f.owner, f.name, number, &o)
	})
	if err != nil {
		return nil, err
	}
	var out []forge.Review
	place := map[string]int{}
	for _, r := range list {
		review := forge.Review{User: r.GetUser().GetLogin(), Commit: r.GetCommitID(), At: r.GetSubmittedAt().Time, URL: r.GetHTMLURL(), State: "commented"}
		switch strings.ToUpper(r.GetState()) {
		case "APPROVED":
			review.State = "approved"
		case "CHANGES_REQUESTED":
			review.State = "rejected"
		case "DISMISSED":
			review.Stale = true
		case "COMMENTED":
		default: // pending: seen by its author alone
			continue
		}
		at, known := place[review.User]
		switch {
		case review.User == "": // an account that is gone stands for nothing
		case !known:
			place[review.User] = len(out)
			out = append(out, review)
		case review.State == "commented" && !review.Stale && out[at].State != "commented":
		default:
			out[at] = review
		}
	}
	return out, nil
}

// MergedBy gives the merged pull request that brought a commit to its base
// branch.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	list, err := pages(f, "pull requests of commit "+commit, func(o gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return f.gh.PullRequests.ListPullRequestsWithCommit(ctx, f.owner, f.name, url.PathEscape(commit), &o)
	})
	var known *rest.Error
	if errors.As(err, &known) && known.Status == http.StatusUnprocessableEntity {
		return forge.PullRequest{}, fmt.Errorf("pull requests of commit %s: %w: %w", commit, forge.ErrNotFound, err)
	}
	if err != nil {
		return forge.PullRequest{}, err
	}
	number := 0
	for _, p := range list {
		if p.MergedAt == nil || !strings.EqualFold(p.GetBase().GetRepo().GetFullName(), f.owner+"/"+f.name) && p.GetBase().GetRepo() != nil {
			continue
		}
		number = p.GetNumber()
		if p.GetMergeCommitSHA() == commit {
			break
		}
	}
	if number == 0 {
		return forge.PullRequest{}, fmt.Errorf("no merged pull request brought commit %s: %w", commit, forge.ErrNotFound)
	}
	return f.PullRequest(ctx, number)
}
