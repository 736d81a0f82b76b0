package gitea

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

type comment struct {
	ID      int64     `json:"id"`
	User    *user     `json:"user"`
	Body    string    `json:"body"`
	HTMLURL string    `json:"html_url"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

func (c comment) out(self string) forge.Comment {
	return forge.Comment{ID: strconv.FormatInt(c.ID, 10), Author: c.User.name(), Body: c.Body, URL: c.HTMLURL, At: c.Created,
		Edited: c.Updated.After(c.Created), Own: self != "" && strings.EqualFold(c.User.name(), self)}
}

// List gives all comments of a pull request, oldest first.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	self, err := f.self(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pages[comment](ctx, f, f.path("issues", strconv.Itoa(number), "comments"), nil)
	if err != nil {
		return nil, fmt.Errorf("comments of pull request %d: %w", number, err)
	}
	var out []forge.Comment
	for _, c := range list {
		out = append(out, c.out(self))
	}
	return out, nil
}

// Add writes a new comment.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	var c comment
	_, err := f.api.Do(ctx, rest.Call{Method: http.MethodPost, Path: f.path("issues", strconv.Itoa(number), "comments"), Body: map[string]string{"body": body}, Into: &c})
	if err != nil {
		return forge.Comment{}, fmt.Errorf("comment on pull request %d: %w", number, err)
	}
	out := c.out("")
	out.Own = true
	return out, nil
}

// Edit replaces a comment's text.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	_, err := f.api.Do(rest.Repeatable(ctx), rest.Call{Method: http.MethodPatch, Path: f.path("issues", "comments", id), Body: map[string]string{"body": body}})
	if err != nil {
		return fmt.Errorf("comment %s of pull request %d: %w", id, number, err)
	}
	return nil
}

var signs = map[forge.Reaction]string{forge.Seen: "eyes", forge.Done: "+1", forge.Refused: "-1"}

// React answers a comment with eyes, a thumb up or a thumb down.
func (f *Forge) React(ctx context.Context, number int, id string, r forge.Reaction) error {
	_, err := f.api.Do(rest.Repeatable(ctx), rest.Call{Method: http.MethodPost, Path: f.path("issues", "comments", id, "reactions"), Body: map[string]string{"content": signs[r]}})
	if err != nil {
		return fmt.Errorf("reaction to comment %s of pull request %d: %w", id, number, err)
	}
	return nil
}

// SetStatus sets the status of a commit.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	_, err := f.api.Do(rest.Repeatable(ctx), rest.Call{Method: http.MethodPost, Path: f.path("statuses", s.Commit), Body: map[string]string{
		"state": string(s.State), "context": s.Context, "description": forge.Shorten(s.Description, 255), "target_url": s.URL}})
	if err != nil {
		return fmt.Errorf("status %s of %s: %w", s.Context, s.Commit, err)
	}
	return nil
}
