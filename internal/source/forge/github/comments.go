package github

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// List gives all comments of a pull request, oldest first.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	self, err := f.self(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pages(f, fmt.Sprintf("comments of pull request %d", number), func(o gh.ListOptions) ([]*gh.IssueComment, *gh.Response, error) {
		return f.gh.Issues.ListComments(ctx, f.owner, f.name, number, &gh.IssueListCommentsOptions{ListOptions: o})
	})
	var out []forge.Comment
	for _, c := range list {
		out = append(out, comment(c, self))
	}
	return out, err
}

func comment(c *gh.IssueComment, self string) forge.Comment {
	author := c.GetUser().GetLogin()
	return forge.Comment{ID: strconv.FormatInt(c.GetID(), 10), Author: author, Body: c.GetBody(), URL: c.GetHTMLURL(), At: c.GetCreatedAt().Time,
		Edited: c.GetUpdatedAt().After(c.GetCreatedAt().Time), Own: self != "" && strings.EqualFold(author, self)}
}

// Add writes a new comment.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	c, _, err := f.gh.Issues.CreateComment(ctx, f.owner, f.name, number, &gh.IssueComment{Body: &body})
	if err != nil {
		return forge.Comment{}, fmt.Errorf("comment on pull request %d: %w", number, f.fail(err))
	}
	out := comment(c, "")
	out.Own = true
	return out, nil
}

// Edit replaces a comment's text.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return fmt.Errorf("comment %q: GitHub's comments have numbers", id)
	}
	if _, _, err = f.gh.Issues.EditComment(rest.Repeatable(ctx), f.owner, f.name, n, &gh.IssueComment{Body: &body}); err != nil {
		return fmt.Errorf("comment %s of pull request %d: %w", id, number, f.fail(err))
	}
	return nil
}

var signs = map[forge.Reaction]string{forge.Seen: "eyes", forge.Done: "+1", forge.Refused: "-1"}

// React answers a comment with eyes, a thumb up or a thumb down.
func (f *Forge) React(ctx context.Context, number int, id string, r forge.Reaction) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || signs[r] == "" {
		return fmt.Errorf("reaction %q to comment %q: there is none of these", r, id)
	}
	if _, _, err = f.gh.Reactions.CreateIssueCommentReaction(rest.Repeatable(ctx), f.owner, f.name, n, signs[r]); err != nil {
		return fmt.Errorf("reaction to comment %s of pull request %d: %w", id, number, f.fail(err))
	}
	return nil
}

// SetStatus sets the status of a commit.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	st := gh.RepoStatus{State: gh.Ptr(string(s.State)), Context: &s.Context, Description: gh.Ptr(forge.Shorten(s.Description, 140))}
	if s.URL != "" {
		st.TargetURL = &s.URL
	}
	if _, _, err := f.gh.Repositories.CreateStatus(rest.Repeatable(ctx), f.owner, f.name, url.PathEscape(s.Commit), st); err != nil {
		return fmt.Errorf("status %s of %s: %w", s.Context, s.Commit, f.fail(err))
	}
	return nil
}
