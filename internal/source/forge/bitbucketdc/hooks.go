package bitbucketdc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"trueup.dev/trueup/internal/source/forge"
)

// wanted are the events that trueup takes.
var wanted = []string{
	"pr:comment:added", "pr:comment:edited", "pr:declined", "pr:from_ref_updated", "pr:merged", "pr:modified", "pr:opened",
	"pr:reviewer:approved", "pr:reviewer:changes_requested", "pr:reviewer:unapproved", "pr:to_ref_updated", "repo:refs_changed",
}

// hook is a webhook of a repository.
type hook struct {
	ID         int      `json:"id"`
	URL        string   `json:"url"`
	Active     bool     `json:"active"`
	Events     []string `json:"events"`
	Statistics struct {
		LastFailure *struct {
			Result struct {
				Description string `json:"description"`
			} `json:"result"`
			Finish int64 `json:"finish"`
		} `json:"lastFailure"`
		LastSuccess *struct {
			Finish int64 `json:"finish"`
		} `json:"lastSuccess"`
	} `json:"statistics"`
}

func (h hook) read() forge.Hook {
	slices.Sort(h.Events)
	out := forge.Hook{ID: strconv.Itoa(h.ID), URL: h.URL, Active: h.Active, Events: h.Events}
	bad, good := h.Statistics.LastFailure, h.Statistics.LastSuccess
	if bad != nil && (good == nil || good.Finish < bad.Finish) {
		out.LastError = "the last delivery failed: " + bad.Result.Description
	}
	return out
}

// Hooks lists the repository's webhooks with how their last delivery went.
func (f *Forge) Hooks(ctx context.Context) ([]forge.Hook, error) {
	list, err := pages[hook](ctx, f.c, f.repo(core, "webhooks"), url.Values{"statistics": {"true"}})
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
	body := map[string]any{"name": "trueup", "url": h.URL, "active": true, "events": events}
	if h.Secret != "" {
		body["configuration"] = map[string]any{"secret": h.Secret}
	}
	there, err := f.Hooks(ctx)
	if err != nil {
		return forge.Hook{}, err
	}
	method, path := http.MethodPost, f.repo(core, "webhooks")
	for _, t := range there {
		if t.URL == h.URL {
			method, path = http.MethodPut, f.repo(core, "webhooks", t.ID)
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
	if err := f.send(ctx, http.MethodDelete, f.repo(core, "webhooks", id), nil, nil); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}
