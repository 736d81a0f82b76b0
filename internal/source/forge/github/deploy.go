package github

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// payload is what trueup keeps in a deployment, to know its own again.
type payload struct {
	Run string `json:"run"`
}

// Deploy records a deployment or its new state. A deployment of the same run
// that was recorded before, but whose id got lost, is found again.
func (f *Forge) Deploy(ctx context.Context, d forge.Deployment) (string, error) {
	what := "deployment to " + d.Environment
	id, err := strconv.ParseInt(d.ID, 10, 64)
	if d.ID == "" {
		id, err = f.deployment(ctx, d)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, f.fail(err))
	}
	state := d.State
	if state == "running" {
		state = "in_progress"
	}
	st := &gh.DeploymentStatusRequest{State: &state, Description: gh.Ptr(forge.Shorten(d.Description, 140)), AutoInactive: gh.Ptr(true)}
	if d.URL != "" {
		st.LogURL = &d.URL
	}
	if _, _, err := f.gh.Repositories.CreateDeploymentStatus(rest.Repeatable(ctx), f.owner, f.name, id, st); err != nil {
		return "", fmt.Errorf("%s: %w", what, f.fail(err))
	}
	return strconv.FormatInt(id, 10), nil
}

func (f *Forge) deployment(ctx context.Context, d forge.Deployment) (int64, error) {
	if d.Run != "" {
		old, _, err := f.gh.Repositories.ListDeployments(ctx, f.owner, f.name, &gh.DeploymentsListOptions{SHA: d.Commit, Environment: d.Environment,
			ListOptions: gh.ListOptions{PerPage: 100}})
		if err != nil {
			return 0, err
		}
		for _, o := range old {
			if own(o.Payload).Run == d.Run {
				return o.GetID(), nil
			}
		}
	}
	made, _, err := f.gh.Repositories.CreateDeployment(ctx, f.owner, f.name, &gh.DeploymentRequest{Ref: &d.Commit, Environment: &d.Environment,
		Description: gh.Ptr(forge.Shorten(d.Description, 140)), Payload: payload{Run: d.Run},
		// trueup has its own gates: GitHub neither merges nor waits.
		AutoMerge: gh.Ptr(false), RequiredContexts: &[]string{}})
	if err != nil {
		return 0, err
	}
	if made.GetID() == 0 {
		return 0, fmt.Errorf("GitHub gives no id")
	}
	return made.GetID(), nil
}

// own reads a payload, which comes back as an object or as a text with one.
func own(raw json.RawMessage) (p payload) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	_ = json.Unmarshal(raw, &p)
	return p
}
