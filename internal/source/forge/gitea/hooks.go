package gitea

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Events are those that trueup acts on.
var Events = []string{"pull_request", "pull_request_comment", "pull_request_review", "pull_request_sync", "push"}

type hook struct {
	ID     int64             `json:"id"`
	Type   string            `json:"type"`
	Config map[string]string `json:"config"`
	Events []string          `json:"events"`
	Active bool              `json:"active"`
}

func (h hook) out() forge.Hook {
	return forge.Hook{ID: strconv.FormatInt(h.ID, 10), URL: h.Config["url"], Active: h.Active, Events: slices.Sorted(slices.Values(h.Events))}
}

// Hooks lists the repository's webhooks. Gitea's API does not tell how their
// deliveries went.
func (f *Forge) Hooks(ctx context.Context) ([]forge.Hook, error) {
	list, err := pages[hook](ctx, f, f.path("hooks"), nil)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	var out []forge.Hook
	for _, h := range list {
		out = append(out, h.out())
	}
	return out, nil
}

// PutHook makes the hook anew and removes older ones with that URL: Gitea
// never changes the secret of one that is there.
func (f *Forge) PutHook(ctx context.Context, h forge.Hook) (forge.Hook, error) {
	old, err := f.Hooks(ctx)
	if err != nil {
		return forge.Hook{}, err
	}
	events := h.Events
	if len(events) == 0 {
		events = Events
	}
	var made hook
	_, err = f.api.Do(ctx, rest.Call{Method: http.MethodPost, Path: f.path("hooks"), Into: &made, Body: map[string]any{"type": "gitea", "active": true, "events": events,
		"config": map[string]string{"url": h.URL, "content_type": "json", "secret": h.Secret}}})
	if err != nil {
		return forge.Hook{}, fmt.Errorf("webhook %s: %w", h.URL, err)
	}
	for _, o := range old {
		if o.URL == h.URL {
			if err := f.DeleteHook(ctx, o.ID); err != nil {
				return made.out(), fmt.Errorf("the new webhook is there, the old one is as well: %w", err)
			}
		}
	}
	return made.out(), nil
}

// DeleteHook removes a webhook.
func (f *Forge) DeleteHook(ctx context.Context, id string) error {
	if _, err := f.api.Do(ctx, rest.Call{Method: http.MethodDelete, Path: f.path("hooks", id)}); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}

// RequiredStatuses lists the contexts that a branch asks for. In Gitea they
// may be patterns, such as trueup/*.
func (f *Forge) RequiredStatuses(ctx context.Context, branch string) ([]string, error) {
	var b struct {
		Enabled  bool     `json:"enable_status_check"`
		Contexts []string `json:"status_check_contexts"`
	}
	if err := f.get(ctx, f.path("branches", branch), nil, &b); err != nil {
		return nil, fmt.Errorf("branch %s: %w", branch, err)
	}
	if !b.Enabled {
		return nil, nil
	}
	return b.Contexts, nil
}

// Examine asks whose token it is and what the account may do.
func (f *Forge) Examine(ctx context.Context) (forge.Standing, error) {
	login, err := f.self(ctx)
	if err != nil {
		return forge.Standing{}, err
	}
	s := forge.Standing{Account: login, Kind: "access token", Unknown: []string{"Gitea does not tell the scopes of a token"}}
	var repo struct {
		Branch      string                           `json:"default_branch"`
		Permissions struct{ Admin, Push, Pull bool } `json:"permissions"`
	}
	if err := f.get(ctx, f.path(), nil, &repo); err != nil {
		return s, fmt.Errorf("repository %s/%s: %w", f.owner, f.name, err)
	}
	s.DefaultBranch = repo.Branch
	if !repo.Permissions.Push {
		s.Missing = append(s.Missing, fmt.Sprintf("write access of %s to %s/%s, for statuses", login, f.owner, f.name))
	}
	if !repo.Permissions.Admin {
		s.Missing = append(s.Missing, fmt.Sprintf("administration of %s/%s by %s, to ask what people may do and to set up the webhook", f.owner, f.name, login))
	}
	return s, nil
}
