package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// Events are those that trueup acts on.
var Events = []string{"issue_comment", "merge_group", "pull_request", "pull_request_review", "push"}

// Hooks lists the repository's webhooks. The App's own webhook is not among
// them.
func (f *Forge) Hooks(ctx context.Context) ([]forge.Hook, error) {
	list, err := f.hooks(ctx)
	var out []forge.Hook
	for _, h := range list {
		out = append(out, hook(h))
	}
	return out, err
}

func (f *Forge) hooks(ctx context.Context) ([]*gh.Hook, error) {
	return pages(f, "webhooks", func(o gh.ListOptions) ([]*gh.Hook, *gh.Response, error) {
		return f.gh.Repositories.ListHooks(ctx, f.owner, f.name, &o)
	})
}

func hook(h *gh.Hook) forge.Hook {
	out := forge.Hook{ID: strconv.FormatInt(h.GetID(), 10), URL: h.GetConfig().GetURL(), Active: h.GetActive(), Events: slices.Sorted(slices.Values(h.Events))}
	code, known := h.LastResponse["code"].(float64)
	if !known {
		return out
	}
	out.Delivered = true
	if code < 200 || code > 299 {
		out.LastError = fmt.Sprintf("answered with %d", int(code))
		if text, _ := h.LastResponse["message"].(string); text != "" && text != "OK" {
			out.LastError += ": " + forge.Shorten(text, 200)
		}
	}
	return out
}

// PutHook creates the hook with that URL or brings it up to date.
func (f *Forge) PutHook(ctx context.Context, h forge.Hook) (forge.Hook, error) {
	list, err := f.hooks(ctx)
	if err != nil {
		return forge.Hook{}, err
	}
	events := h.Events
	if len(events) == 0 {
		events = Events
	}
	want := &gh.Hook{Active: gh.Ptr(true), Events: events, Config: &gh.HookConfig{URL: &h.URL, ContentType: gh.Ptr("json"), InsecureSSL: gh.Ptr("0"), Secret: &h.Secret}}
	var got *gh.Hook
	if i := slices.IndexFunc(list, func(o *gh.Hook) bool { return o.GetConfig().GetURL() == h.URL }); i >= 0 {
		got, _, err = f.gh.Repositories.EditHook(rest.Repeatable(ctx), f.owner, f.name, list[i].GetID(), want)
	} else {
		want.Name = gh.Ptr("web")
		got, _, err = f.gh.Repositories.CreateHook(ctx, f.owner, f.name, want)
	}
	if err != nil {
		return forge.Hook{}, fmt.Errorf("webhook %s: %w", h.URL, f.fail(err))
	}
	return hook(got), nil
}

// DeleteHook removes a webhook.
func (f *Forge) DeleteHook(ctx context.Context, id string) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return fmt.Errorf("webhook %q: GitHub's webhooks have numbers", id)
	}
	if _, err := f.gh.Repositories.DeleteHook(ctx, f.owner, f.name, n); err != nil {
		return fmt.Errorf("webhook %s: %w", id, f.fail(err))
	}
	return nil
}

// RequiredStatuses lists the contexts that a branch asks for, by its
// protection and by rulesets.
func (f *Forge) RequiredStatuses(ctx context.Context, branch string) ([]string, error) {
	var b gh.Branch
	// The SDK's own call for a branch loses the status of an error.
	if err := f.call(ctx, http.MethodGet, "branches/"+url.PathEscape(branch), nil, &b); err != nil {
		return nil, fmt.Errorf("branch %s: %w", branch, err)
	}
	seen := map[string]bool{}
	if checks := b.GetProtection().GetRequiredStatusChecks(); checks != nil {
		if checks.Contexts != nil {
			for _, c := range *checks.Contexts {
				seen[c] = true
			}
		}
		if checks.Checks != nil {
			for _, c := range *checks.Checks {
				seen[c.Context] = true
			}
		}
	}
	rules, _, err := f.gh.Repositories.ListRulesForBranch(ctx, f.owner, f.name, url.PathEscape(branch), &gh.ListOptions{PerPage: 100})
	switch err = f.fail(err); {
	case errors.Is(err, forge.ErrNotFound): // GitHub Enterprise Server before rulesets
	case err != nil:
		return nil, fmt.Errorf("rules of branch %s: %w", branch, err)
	default:
		for _, r := range rules.RequiredStatusChecks {
			for _, c := range r.Parameters.RequiredStatusChecks {
				seen[c.Context] = true
			}
		}
	}
	var out []string
	for c := range seen {
		out = append(out, c)
	}
	slices.Sort(out)
	return out, nil
}
