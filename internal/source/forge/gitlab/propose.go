package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

const draftPrefix = "Draft: "

// Propose opens a merge request, or brings the text of the open one up to
// date. Whether somebody made it a draft, and their labels, stay.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	m, err := f.openOf(ctx, p)
	if err != nil {
		return forge.PullRequest{}, err
	}
	if m == nil {
		if m, err = f.create(ctx, p); err != nil {
			return forge.PullRequest{}, err
		}
		return f.pull(ctx, m)
	}
	title := p.Title
	if m.Draft {
		title = draftPrefix + p.Title
	}
	if m.Title == title && m.Description == p.Body && containsAll(m.Labels, p.Labels) {
		return f.pull(ctx, m)
	}
	body := map[string]any{"title": title, "description": p.Body}
	if len(p.Labels) > 0 {
		body["add_labels"] = strings.Join(p.Labels, ",")
	}
	if err := f.send(rest.Repeatable(ctx), http.MethodPut, f.mr(m.IID), body, m); err != nil {
		return forge.PullRequest{}, fmt.Errorf("update merge request !%d: %w", m.IID, err)
	}
	return f.pull(ctx, m)
}

func containsAll(have, want []string) bool {
	set := map[string]bool{}
	for _, l := range have {
		set[l] = true
	}
	for _, l := range want {
		if !set[l] {
			return false
		}
	}
	return true
}

// openOf gives the open merge request between the two branches of the project
// itself, nil for none.
func (f *Forge) openOf(ctx context.Context, p forge.Proposal) (*mergeRequest, error) {
	list, err := rest.Pages[mergeRequest](ctx, f.c, f.root+"/merge_requests",
		query("state", "opened", "scope", "all", "source_branch", p.Head, "target_branch", p.Base, "per_page", "100"))
	if err != nil {
		return nil, fmt.Errorf("the merge requests of %s: %w", p.Head, err)
	}
	for i := range list {
		if list[i].SourceProject == list[i].TargetProject {
			return &list[i], nil
		}
	}
	return nil, nil
}

func (f *Forge) create(ctx context.Context, p forge.Proposal) (*mergeRequest, error) {
	body := map[string]any{"source_branch": p.Head, "target_branch": p.Base, "title": p.Title, "description": p.Body, "remove_source_branch": true}
	if p.Draft {
		body["title"] = draftPrefix + p.Title
	}
	if len(p.Labels) > 0 {
		body["labels"] = strings.Join(p.Labels, ",")
	}
	var m mergeRequest
	err := f.send(ctx, http.MethodPost, f.root+"/merge_requests", body, &m)
	var refused *rest.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		// Another process was quicker.
		if there, lerr := f.openOf(ctx, p); lerr == nil && there != nil {
			return there, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open a merge request of %s: %w", p.Head, err)
	}
	return &m, nil
}
