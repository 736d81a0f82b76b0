package bitbucketdc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// matches tells whether a branch fits one of the server's Ant-like patterns:
// one without a slash fits the last part of a name as well.
func matches(pattern, branch string) bool {
	pattern = strings.TrimPrefix(pattern, "refs/heads/")
	if !strings.Contains(pattern, "/") {
		pattern = "**/" + pattern
	}
	ok, err := doublestar.Match(pattern, branch)
	return ok && err == nil
}

// levels are the severities of Code Insights.
var levels = map[string]string{"error": "HIGH", "warning": "MEDIUM", "notice": "LOW"}

// maxAnnotations is the server's limit for one report.
const maxAnnotations = 1000

// Annotate writes a Code Insights report with its annotations ("Code
// Insights"). An earlier report of that name goes first, and takes its
// annotations along.
func (f *Forge) Annotate(ctx context.Context, commit, name string, as []forge.Annotation) error {
	key := strings.ReplaceAll(name, "/", ".")
	report := f.repo("insights/latest", "commits", commit, "reports", key)
	if err := f.send(rest.Repeatable(ctx), http.MethodDelete, report, nil, nil); err != nil && !errors.Is(err, forge.ErrNotFound) {
		return reportError(name, commit, err)
	}
	result, details := "PASS", "No findings."
	if len(as) > 0 {
		details = fmt.Sprintf("%d findings.", len(as))
	}
	list := make([]map[string]any, 0, len(as))
	for i, a := range as {
		if a.Level == "error" {
			result = "FAIL"
		}
		if i < maxAnnotations {
			list = append(list, annotation(i, a))
		}
	}
	if len(as) > maxAnnotations {
		details = fmt.Sprintf("%d findings, of which %d are shown.", len(as), maxAnnotations)
	}
	body := map[string]any{"title": name, "details": details, "result": result, "reporter": "trueup"}
	if err := f.send(rest.Repeatable(ctx), http.MethodPut, report, body, nil); err != nil {
		return reportError(name, commit, err)
	}
	if len(list) == 0 {
		return nil
	}
	if err := f.send(ctx, http.MethodPost, report+"/annotations", map[string]any{"annotations": list}, nil); err != nil {
		return reportError(name, commit, err)
	}
	return nil
}

// reportError tells a token without the right to reports from other trouble:
// the findings are for the comment then.
func reportError(name, commit string, err error) error {
	if errors.Is(err, forge.ErrDenied) {
		return fmt.Errorf("report %s of %.12s: %w: %w", name, commit, forge.ErrUnsupported, err)
	}
	return fmt.Errorf("report %s of %.12s: %w", name, commit, err)
}

func annotation(i int, a forge.Annotation) map[string]any {
	out := map[string]any{"externalId": fmt.Sprint(i), "message": forge.Shorten(a.Message, 2000), "severity": levels[a.Level], "type": "CODE_SMELL"}
	if a.Level == "error" {
		out["type"] = "BUG"
	}
	if out["severity"] == "" {
		out["severity"] = "LOW"
	}
	if a.Path != "" {
		out["path"] = a.Path
	}
	if a.Line > 0 {
		out["line"] = a.Line
	}
	return out
}

// deployStates are the server's words.
var deployStates = map[string]string{"pending": "PENDING", "running": "IN_PROGRESS", "success": "SUCCESSFUL", "failure": "FAILED", "inactive": "CANCELLED"}

// Deploy records a deployment ("Builds and Deployments", deployments). The
// server knows it by key, environment and sequence number, which is the id
// here; a newer state replaces the older one.
func (f *Forge) Deploy(ctx context.Context, d forge.Deployment) (string, error) {
	state, ok := deployStates[d.State]
	if !ok {
		return "", fmt.Errorf("state %q of a deployment is none of Bitbucket's", d.State)
	}
	now := time.Now()
	if d.ID == "" {
		d.ID = fmt.Sprint(now.UnixMilli())
	}
	var number int64
	if _, err := fmt.Sscanf(d.ID, "%d", &number); err != nil {
		return "", fmt.Errorf("%.40q is no id of a deployment", d.ID)
	}
	env := map[string]any{"key": clip(d.Environment), "displayName": clip(d.Environment)}
	body := map[string]any{"deploymentSequenceNumber": number, "key": clip("trueup/" + d.Environment), "displayName": clip("trueup " + d.Run), "environment": env,
		"state": state, "url": d.URL, "description": shorten(d.Description), "lastUpdated": now.UnixMilli()}
	if d.URL == "" {
		body["url"] = f.info.WebURL + "/commits/" + d.Commit
	}
	if d.Description == "" {
		body["description"] = state
	}
	if err := f.send(rest.Repeatable(ctx), http.MethodPost, f.repo(core, "commits", d.Commit, "deployments"), body, nil); err != nil {
		return "", fmt.Errorf("deployment to %s: %w", d.Environment, err)
	}
	return d.ID, nil
}

func clip(s string) string { return shorten(strings.TrimSpace(s)) }
