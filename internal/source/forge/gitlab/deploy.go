package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// deployStates are GitLab's words. A deployment that is no longer the newest
// needs no word: GitLab knows.
var deployStates = map[string]string{"pending": "running", "running": "running", "success": "success", "failure": "failed"}

// Deploy records a deployment ("Deployments API"); GitLab makes the
// environment of that name.
func (f *Forge) Deploy(ctx context.Context, d forge.Deployment) (string, error) {
	if d.State == "inactive" {
		return d.ID, nil
	}
	state, ok := deployStates[d.State]
	if !ok {
		return "", fmt.Errorf("GitLab has no deployment state %q", d.State)
	}
	if d.ID != "" {
		err := f.send(rest.Repeatable(ctx), http.MethodPut, f.root+"/deployments/"+pathPart(d.ID), map[string]any{"status": state}, nil)
		var refused *rest.Error
		if errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Message), "cannot transition") {
			return d.ID, nil // it stands there already
		}
		if err != nil {
			return "", fmt.Errorf("deployment %s: %w", d.ID, err)
		}
		return d.ID, nil
	}
	ref, tag := strings.CutPrefix(d.Ref, "refs/tags/")
	if !tag {
		ref = strings.TrimPrefix(d.Ref, "refs/heads/")
	}
	var made struct {
		ID int `json:"id"`
	}
	body := map[string]any{"environment": d.Environment, "sha": d.Commit, "ref": ref, "tag": tag, "status": state}
	if err := f.send(ctx, http.MethodPost, f.root+"/deployments", body, &made); err != nil {
		return "", fmt.Errorf("deployment to %s: %w", d.Environment, err)
	}
	return strconv.Itoa(made.ID), nil
}
