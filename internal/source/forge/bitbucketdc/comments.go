package bitbucketdc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// comment is a comment with its answers.
type comment struct {
	ID       int       `json:"id"`
	Version  int       `json:"version"`
	Text     string    `json:"text"`
	Author   user      `json:"author"`
	Created  int64     `json:"createdDate"` // milliseconds
	Comments []comment `json:"comments"`
}

// activity is something that happened to a pull request.
type activity struct {
	Action        string  `json:"action"`
	Created       int64   `json:"createdDate"` // milliseconds
	CommentAction string  `json:"commentAction"`
	User          user    `json:"user"`
	Comment       comment `json:"comment"`
	Commit        struct {
		ID string `json:"id"`
	} `json:"commit"`
}

// activities are the newest first. The list of comments alone asks for a file;
// those of the whole pull request stand among its activities.
func (f *Forge) activities(ctx context.Context, number int) ([]activity, error) {
	list, err := pages[activity](ctx, f.c, f.pr(number, "activities"), nil)
	if err != nil {
		return nil, fmt.Errorf("the activities of pull request #%d: %w", number, err)
	}
	return list, nil
}

// List gives the comments with their answers, oldest first.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	me, err := f.own(ctx)
	if err != nil {
		return nil, err
	}
	list, err := f.activities(ctx, number)
	if err != nil {
		return nil, err
	}
	pr := f.info.WebURL + "/pull-requests/" + strconv.Itoa(number) + "/overview"
	seen := map[int]bool{}
	var out []forge.Comment
	var take func(c comment)
	take = func(c comment) {
		if !seen[c.ID] {
			seen[c.ID] = true
			out = append(out, forge.Comment{ID: strconv.Itoa(c.ID), Author: c.Author.Name, Body: c.Text, At: time.UnixMilli(c.Created).UTC(),
				URL: fmt.Sprintf("%s?commentId=%d", pr, c.ID), Own: me != "" && strings.EqualFold(c.Author.Name, me)})
		}
		for _, answer := range c.Comments {
			take(answer)
		}
	}
	for _, a := range list {
		if a.Action == "COMMENTED" && a.CommentAction != "DELETED" {
			take(a.Comment)
		}
	}
	slices.SortStableFunc(out, func(a, b forge.Comment) int { return a.At.Compare(b.At) })
	return out, nil
}

// Add writes a new comment.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	var c comment
	if err := f.send(ctx, http.MethodPost, f.pr(number, "comments"), map[string]any{"text": body}, &c); err != nil {
		return forge.Comment{}, fmt.Errorf("comment on pull request #%d: %w", number, err)
	}
	f.mu.Lock()
	f.me = c.Author.Name
	f.mu.Unlock()
	return forge.Comment{ID: strconv.Itoa(c.ID), Author: c.Author.Name, Body: c.Text, At: time.UnixMilli(c.Created).UTC(), Own: true,
		URL: fmt.Sprintf("%s/pull-requests/%d/overview?commentId=%d", f.info.WebURL, number, c.ID)}, nil
}

// editTries is how often an edit is tried that somebody else's came before.
const editTries = 3

// Edit replaces a comment's text. The server asks for the version that was
// read; where another one is there by now it is read again.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	path := f.pr(number, "comments", id)
	var err error
	for range editTries {
		var c comment
		if err = f.get(ctx, path, nil, &c); err != nil {
			break
		}
		err = f.send(ctx, http.MethodPut, path, map[string]any{"text": body, "version": c.Version}, nil)
		var refused *rest.Error
		if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("edit comment %s of pull request #%d: %w", id, number, err)
	}
	return nil
}

// emoticons are the server's names of reactions.
var emoticons = map[forge.Reaction]string{forge.Seen: "eyes", forge.Done: "white_check_mark", forge.Refused: "no_entry"}

// React puts a reaction to a comment. Servers before 7.19 have none, and an
// administrator may have taken some away: the caller answers in words then.
func (f *Forge) React(ctx context.Context, number int, id string, r forge.Reaction) error {
	name, ok := emoticons[r]
	if !ok {
		return forge.ErrUnsupported
	}
	path := f.repo("comment-likes/latest", "pull-requests", strconv.Itoa(number), "comments", id, "reactions", name)
	err := f.send(rest.Repeatable(ctx), http.MethodPut, path, nil, nil)
	var refused *rest.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusBadRequest) {
		return fmt.Errorf("react to comment %s of pull request #%d: %w (%w)", id, number, forge.ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("react to comment %s of pull request #%d: %w", id, number, err)
	}
	return nil
}
