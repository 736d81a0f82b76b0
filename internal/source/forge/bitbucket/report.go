package bitbucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// builds are Bitbucket's words for the states of a build.
var builds = map[forge.StatusState]string{forge.StatusPending: "INPROGRESS", forge.StatusSuccess: "SUCCESSFUL",
	forge.StatusFailure: "FAILED", forge.StatusError: "FAILED"}

// maxKey is Bitbucket's limit of a build's key.
const maxKey = 40

// keyOf makes the key of a build or report; a longer one is replaced by a
// digest, so that two names never share a key.
func keyOf(name string) string {
	if len(name) <= maxKey {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// SetStatus sets a build status ("Commit statuses"); the same key replaces
// the one before. Bitbucket wants an address: it is the commit's own page
// where there is no other.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	state, ok := builds[s.State]
	if !ok {
		return fmt.Errorf("status %q is none of Bitbucket's", s.State)
	}
	body := map[string]any{"key": keyOf(s.Context), "name": s.Context, "state": state, "description": forge.Shorten(s.Description, 255), "url": s.URL}
	if s.URL == "" {
		body["url"] = f.info.WebURL + "/commits/" + s.Commit
	}
	if s.Ref != "" {
		body["refname"] = strings.TrimPrefix(s.Ref, "refs/heads/")
	}
	if err := f.send(rest.Repeatable(ctx), "POST", f.path("commit", s.Commit, "statuses", "build"), body, nil); err != nil {
		return fmt.Errorf("status %s of %.12s: %w", s.Context, s.Commit, err)
	}
	return nil
}

// permissions are Bitbucket's words.
var permissions = map[string]forge.Permission{"read": forge.CanRead, "write": forge.CanWrite, "admin": forge.CanAdmin}

// Permission gives an account's permission as it counts in the end, with that
// of its groups; an account is named by its account id or UUID.
func (f *Forge) Permission(ctx context.Context, user string) (forge.Permission, error) {
	field := "user.account_id"
	if strings.HasPrefix(user, "{") {
		field = "user.uuid"
	}
	type entry struct {
		Permission string  `json:"permission"`
		User       account `json:"user"`
	}
	list, err := pages[entry](ctx, f.c, rest.Path("workspaces", f.workspace, "permissions", "repositories", f.slug), url.Values{"q": {field + " = " + quoted(user)}, "pagelen": {"100"}})
	if err != nil {
		return forge.NoAccess, fmt.Errorf("the permission of %s: %w", user, err)
	}
	for _, e := range list {
		if e.User.AccountID == user || e.User.UUID == user {
			return permissions[e.Permission], nil
		}
	}
	return forge.NoAccess, nil
}

// InTeam tells whether an account belongs to a group "workspace/group", or to
// a workspace. Groups are read by version 1.0 of the API, the one that has
// them.
func (f *Forge) InTeam(ctx context.Context, team, user string) (bool, error) {
	workspace, group, ok := strings.Cut(team, "/")
	if !ok {
		err := f.get(ctx, rest.Path("workspaces", workspace, "members", user), nil, nil)
		if errors.Is(err, forge.ErrNotFound) {
			// A missing workspace looks like a missing member.
			if werr := f.get(ctx, rest.Path("workspaces", workspace), nil, nil); werr != nil {
				return false, fmt.Errorf("workspace %s: %w", workspace, werr)
			}
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("membership of %s in %s: %w", user, team, err)
		}
		return true, nil
	}
	var members []account
	if _, err := f.groups.Do(ctx, rest.Call{Path: rest.Path("groups", workspace, group, "members"), Into: &members}); err != nil {
		return false, fmt.Errorf("group %s: %w", team, err)
	}
	for _, m := range members {
		if m.AccountID == user || m.UUID == user {
			return true, nil
		}
	}
	return false, nil
}

// levels are Bitbucket's severities.
var levels = map[string]string{"error": "HIGH", "warning": "MEDIUM", "notice": "LOW"}

// Limits of reports ("Reports": annotations).
const (
	atOnce  = 100
	inTotal = 1000
)

// Annotate writes a Code Insights report with its annotations. An earlier
// report of that name goes first, and takes its annotations along.
func (f *Forge) Annotate(ctx context.Context, commit, name string, as []forge.Annotation) error {
	report := f.path("commit", commit, "reports", keyOf(name))
	if err := f.send(rest.Repeatable(ctx), http.MethodDelete, report, nil, nil); err != nil && !errors.Is(err, forge.ErrNotFound) {
		return reportError(name, commit, err)
	}
	result, details := "PASSED", "No findings."
	if len(as) > 0 {
		details = fmt.Sprintf("%d findings.", len(as))
	}
	for _, a := range as {
		if a.Level == "error" {
			result = "FAILED"
		}
	}
	if len(as) > inTotal {
		details = fmt.Sprintf("%d findings, of which %d are shown.", len(as), inTotal)
		as = as[:inTotal]
	}
	body := map[string]any{"title": name, "details": details, "report_type": "TEST", "reporter": "trueup", "result": result}
	if err := f.send(rest.Repeatable(ctx), http.MethodPut, report, body, nil); err != nil {
		return reportError(name, commit, err)
	}
	for from := 0; from < len(as); from += atOnce {
		var batch []map[string]any
		for i, a := range as[from:min(from+atOnce, len(as))] {
			batch = append(batch, annotation(fmt.Sprintf("%s-%d", keyOf(name), from+i), a))
		}
		if err := f.send(rest.Repeatable(ctx), http.MethodPost, report+"/annotations", batch, nil); err != nil {
			return reportError(name, commit, err)
		}
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

func annotation(id string, a forge.Annotation) map[string]any {
	out := map[string]any{"external_id": id, "annotation_type": "CODE_SMELL", "summary": forge.Shorten(a.Message, 450), "severity": levels[a.Level]}
	if a.Level == "error" {
		out["annotation_type"] = "BUG"
	}
	if out["severity"] == "" {
		out["severity"] = "LOW"
	}
	if len([]rune(a.Message)) > 450 {
		out["details"] = forge.Shorten(a.Message, 2000)
	}
	if a.Path != "" {
		out["path"] = a.Path
	}
	if a.Line > 0 {
		out["line"] = a.Line
	}
	return out
}

// RequiredStatuses gives "*" where a merge into the branch needs passing
// builds; Bitbucket counts them and does not ask for them by name.
func (f *Forge) RequiredStatuses(ctx context.Context, branch string) ([]string, error) {
	type restriction struct {
		Kind    string `json:"kind"`
		Pattern string `json:"pattern"`
		Match   string `json:"branch_match_kind"`
		Type    string `json:"branch_type"`
		Value   int    `json:"value"`
	}
	list, err := pages[restriction](ctx, f.c, f.path("branch-restrictions"), url.Values{"kind": {"require_passing_builds_to_merge"}, "pagelen": {"100"}})
	if err != nil {
		return nil, fmt.Errorf("the branch restrictions: %w", err)
	}
	for _, r := range list {
		hit, _ := path.Match(r.Pattern, branch)
		if r.Value > 0 && (hit || r.Pattern == branch || r.Match == "branching_model") {
			return []string{"*"}, nil
		}
	}
	return nil, nil
}
