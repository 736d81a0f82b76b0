package bitbucket

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// comment is a comment of a pull request.
type comment struct {
	ID      int       `json:"id"`
	User    account   `json:"user"`
	Created time.Time `json:"created_on"`
	Deleted bool      `json:"deleted"`
	Pending bool      `json:"pending"`
	Content struct {
		Raw string `json:"raw"`
	} `json:"content"`
	Links struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

func (c comment) read(me string) forge.Comment {
	return forge.Comment{ID: strconv.Itoa(c.ID), Author: c.User.id(), Body: c.Content.Raw, URL: c.Links.HTML.Href, At: c.Created,
		Own: me != "" && c.User.id() == me}
}

func content(body string) map[string]any {
	return map[string]any{"content": map[string]any{"raw": body}}
}

// List gives the comments, oldest first.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	me, err := f.own(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pages[comment](ctx, f.c, f.pr(number, "comments"), url.Values{"sort": {"created_on"}, "pagelen": {"100"}})
	if err != nil {
		return nil, fmt.Errorf("the comments of pull request #%d: %w", number, err)
	}
	var out []forge.Comment
	for _, c := range list {
		if !c.Deleted && !c.Pending {
			out = append(out, c.read(me))
		}
	}
	return out, nil
}

// Add writes a new comment.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	var c comment
	if err := f.send(ctx, "POST", f.pr(number, "comments"), content(body), &c); err != nil {
		return forge.Comment{}, fmt.Errorf("comment on pull request #%d: %w", number, err)
	}
	// Who may not ask who it is learns it from what it wrote.
	f.mu.Lock()
	f.me = c.User.id()
	f.mu.Unlock()
	return c.read(c.User.id()), nil
}

// Edit replaces a comment's text.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	if err := f.send(rest.Repeatable(ctx), "PUT", f.pr(number, "comments", id), content(body), nil); err != nil {
		return fmt.Errorf("edit comment %s of pull request #%d: %w", id, number, err)
	}
	return nil
}

// React has no counterpart in Bitbucket Cloud's API.
func (f *Forge) React(context.Context, int, string, forge.Reaction) error {
	return forge.ErrUnsupported
}
