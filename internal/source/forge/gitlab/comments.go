package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// note is a comment ("Notes API", merge requests).
type note struct {
	ID        int       `json:"id"`
	Body      string    `json:"body"`
	Author    user      `json:"author"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	System    bool      `json:"system"`
}

func (f *Forge) comment(n note, number int, me string) forge.Comment {
	return forge.Comment{ID: strconv.Itoa(n.ID), Author: n.Author.Username, Body: n.Body, At: n.CreatedAt,
		// Both times are taken one after the other when a note is made.
		Edited: n.UpdatedAt.Sub(n.CreatedAt) > time.Second, Own: n.Author.Username == me,
		URL: fmt.Sprintf("%s/-/merge_requests/%d#note_%d", f.info.WebURL, number, n.ID)}
}

// pathPart escapes one part of a path.
func pathPart(s string) string { return strings.TrimPrefix(rest.Path(s), "/") }

// List gives the comments that people and programs wrote, oldest first.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	me, err := f.own(ctx)
	if err != nil {
		return nil, err
	}
	notes, err := rest.Pages[note](ctx, f.c, f.mr(number)+"/notes", query("sort", "asc", "order_by", "created_at", "per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the comments of merge request !%d: %w", number, err)
	}
	var out []forge.Comment
	for _, n := range notes {
		if !n.System {
			out = append(out, f.comment(n, number, me))
		}
	}
	return out, nil
}

// Add writes a new comment.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	var n note
	if err := f.send(ctx, http.MethodPost, f.mr(number)+"/notes", map[string]any{"body": body}, &n); err != nil {
		return forge.Comment{}, fmt.Errorf("comment on merge request !%d: %w", number, err)
	}
	return f.comment(n, number, n.Author.Username), nil
}

// Edit replaces a comment's text.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	err := f.send(rest.Repeatable(ctx), http.MethodPut, f.mr(number)+"/notes/"+pathPart(id), map[string]any{"body": body}, nil)
	if err != nil {
		return fmt.Errorf("edit comment %s of merge request !%d: %w", id, number, err)
	}
	return nil
}

// emoji are the names of GitLab's award emoji.
var emoji = map[forge.Reaction]string{forge.Seen: "eyes", forge.Done: "white_check_mark", forge.Refused: "no_entry_sign"}

// React awards an emoji ("Emoji reactions API"). One that stands there already
// is refused by GitLab, and is what was asked for.
func (f *Forge) React(ctx context.Context, number int, id string, r forge.Reaction) error {
	name, ok := emoji[r]
	if !ok {
		return forge.ErrUnsupported
	}
	path := f.mr(number) + "/notes/" + pathPart(id) + "/award_emoji"
	_, err := f.c.Do(ctx, rest.Call{Method: http.MethodPost, Path: path, Query: url.Values{"name": {name}}})
	var refused *rest.Error
	if errors.As(err, &refused) && strings.Contains(refused.Message, "already been taken") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("react to comment %s of merge request !%d: %w", id, number, err)
	}
	return nil
}
