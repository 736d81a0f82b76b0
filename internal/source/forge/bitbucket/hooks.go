package bitbucket

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"trueup.dev/trueup/internal/source/forge"
)

// wanted are the events that trueup takes.
var wanted = []string{
	"pullrequest:approved", "pullrequest:changes_request_created", "pullrequest:changes_request_removed", "pullrequest:comment_created",
	"pullrequest:comment_updated", "pullrequest:created", "pullrequest:fulfilled", "pullrequest:rejected", "pullrequest:unapproved",
	"pullrequest:updated", "repo:push",
}

// hook is a webhook of a repository ("Webhooks").
type hook struct {
	UUID   string   `json:"uuid"`
	URL    string   `json:"url"`
	Active bool     `json:"active"`
	Events []string `json:"events"`
}

func (h hook) read() forge.Hook {
	slices.Sort(h.Events)
	return forge.Hook{ID: h.UUID, URL: h.URL, Active: h.Active, Events: h.Events}
}

// Hooks lists the repository's webhooks.
func (f *Forge) Hooks(ctx context.Context) ([]forge.Hook, error) {
	list, err := pages[hook](ctx, f.c, f.path("hooks"), url.Values{"pagelen": {"100"}})
	if err != nil {
		return nil, fmt.Errorf("the webhooks of %s: %w", f.info.Project, err)
	}
	out := make([]forge.Hook, 0, len(list))
	for _, h := range list {
		out = append(out, h.read())
	}
	return out, nil
}

// PutHook creates the webhook of a URL, or brings it up to date.
func (f *Forge) PutHook(ctx context.Context, h forge.Hook) (forge.Hook, error) {
	events := h.Events
	if len(events) == 0 {
		events = wanted
	}
	body := map[string]any{"description": "trueup", "url": h.URL, "active": true, "events": events}
	if h.Secret != "" {
		body["secret"] = h.Secret
	}
	there, err := f.Hooks(ctx)
	if err != nil {
		return forge.Hook{}, err
	}
	method, path := http.MethodPost, f.path("hooks")
	for _, t := range there {
		if t.URL == h.URL {
			method, path = http.MethodPut, f.path("hooks", t.ID)
		}
	}
	var made hook
	if err := f.send(ctx, method, path, body, &made); err != nil {
		return forge.Hook{}, fmt.Errorf("the webhook of %s: %w", f.info.Project, err)
	}
	return made.read(), nil
}

// DeleteHook removes a webhook.
func (f *Forge) DeleteHook(ctx context.Context, id string) error {
	if err := f.send(ctx, http.MethodDelete, f.path("hooks", id), nil, nil); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}
