package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// wanted are the events that trueup takes; pipelines for merge trains.
var wanted = []string{"merge_requests_events", "note_events", "pipeline_events", "push_events", "tag_push_events"}

// hookEvents are the events a hook of a project can have ("Project webhooks
// API"), as far as a hook of ours has to say yes or no.
var hookEvents = append([]string{"confidential_issues_events", "confidential_note_events", "deployment_events", "issues_events",
	"job_events", "releases_events", "wiki_page_events"}, wanted...)

// hook is a project's webhook; its events are read by name.
type hook map[string]any

func (h hook) text(key string) string { s, _ := h[key].(string); return s }

func (h hook) id() string {
	n, _ := h["id"].(float64)
	return strconv.FormatInt(int64(n), 10)
}

func (h hook) read() forge.Hook {
	out := forge.Hook{ID: h.id(), URL: h.text("url"), Active: true}
	for _, e := range hookEvents {
		if on, _ := h[e].(bool); on {
			out.Events = append(out.Events, e)
		}
	}
	slices.Sort(out.Events)
	// alert_status is executable, temporarily_disabled or disabled.
	if s := h.text("alert_status"); s != "" && s != "executable" {
		out.Active = false
		out.LastError = "GitLab stopped sending after failed deliveries: " + s
		if until := h.text("disabled_until"); until != "" {
			out.LastError += " until " + until
		}
	}
	return out
}

// Hooks lists the project's webhooks.
func (f *Forge) Hooks(ctx context.Context) ([]forge.Hook, error) {
	list, err := rest.Pages[hook](ctx, f.c, f.root+"/hooks", query("per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the webhooks of %s: %w", f.info.Project, err)
	}
	out := make([]forge.Hook, 0, len(list))
	for _, h := range list {
		out = append(out, h.read())
	}
	return out, nil
}

// PutHook creates the webhook of a URL, or brings it up to date. A secret that
// begins with whsec_ becomes the signing token, any other the secret token.
func (f *Forge) PutHook(ctx context.Context, h forge.Hook) (forge.Hook, error) {
	body := map[string]any{"url": h.URL, "enable_ssl_verification": true}
	if strings.HasPrefix(h.Secret, signingPrefix) {
		body["signing_token"] = h.Secret
	} else if h.Secret != "" {
		body["token"] = h.Secret
	}
	events := h.Events
	if len(events) == 0 {
		events = wanted
	}
	for _, e := range events {
		if !slices.Contains(hookEvents, e) {
			return forge.Hook{}, fmt.Errorf("GitLab has no webhook event %q", e)
		}
	}
	for _, e := range hookEvents {
		body[e] = slices.Contains(events, e)
	}
	there, err := f.Hooks(ctx)
	if err != nil {
		return forge.Hook{}, err
	}
	method, path := http.MethodPost, f.root+"/hooks"
	for _, t := range there {
		if t.URL == h.URL {
			method, path = http.MethodPut, f.root+"/hooks/"+pathPart(t.ID)
		}
	}
	made := hook{}
	if err := f.send(ctx, method, path, body, &made); err != nil {
		return forge.Hook{}, fmt.Errorf("the webhook of %s: %w", f.info.Project, err)
	}
	return made.read(), nil
}

// DeleteHook removes a webhook.
func (f *Forge) DeleteHook(ctx context.Context, id string) error {
	if err := f.send(ctx, http.MethodDelete, f.root+"/hooks/"+pathPart(id), nil, nil); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}
