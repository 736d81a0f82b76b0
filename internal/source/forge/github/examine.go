package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
)

// rights of an App that trueup uses. The optional ones are for what not
// everybody does.
var rights = []struct {
	name, want, why string
	of              func(*gh.InstallationPermissions) string
}{
	{"contents", "read", "to read branches", (*gh.InstallationPermissions).GetContents},
	{"pull_requests", "write", "to read pull requests and comment on them", (*gh.InstallationPermissions).GetPullRequests},
	{"statuses", "write", "for trueup/plan and trueup/apply", (*gh.InstallationPermissions).GetStatuses},
	{"checks", "write", "for annotations at lines of files", (*gh.InstallationPermissions).GetChecks},
	{"deployments", "write", "for records of deployments", (*gh.InstallationPermissions).GetDeployments},
	{"members", "read", "for teams that approve", (*gh.InstallationPermissions).GetMembers},
}

// Examine asks who the credentials are and what they may do.
func (f *Forge) Examine(ctx context.Context) (forge.Standing, error) {
	login, err := f.self(ctx)
	if err != nil {
		return forge.Standing{}, err
	}
	if f.app != nil {
		return f.examineApp(ctx, login)
	}
	s := forge.Standing{Account: login, Kind: "personal access token"}
	repo, resp, err := f.gh.Repositories.Get(ctx, f.owner, f.name)
	if err != nil {
		return s, fmt.Errorf("repository %s/%s: %w", f.owner, f.name, f.fail(err))
	}
	s.Expires, s.DefaultBranch = expiry(resp.Response), repo.GetDefaultBranch()
	if scopes, classic := resp.Header["X-Oauth-Scopes"]; classic {
		s.Kind = "personal access token (classic)"
		has := strings.FieldsFunc(strings.Join(scopes, ","), func(r rune) bool { return r == ',' || r == ' ' })
		if !slices.Contains(has, "repo") && !(slices.Contains(has, "public_repo") && !repo.GetPrivate()) {
			s.Missing = append(s.Missing, "scope repo, for pull requests, comments and statuses")
		}
		if !slices.Contains(has, "admin:org") && !slices.Contains(has, "write:org") && !slices.Contains(has, "read:org") {
			s.Missing = append(s.Missing, "scope read:org, for teams that approve")
		}
	} else {
		s.Unknown = append(s.Unknown, "GitHub does not tell the permissions of a fine-grained token")
	}
	if !repo.GetPermissions().GetPush() {
		s.Missing = append(s.Missing, fmt.Sprintf("write access of %s to %s/%s, for statuses", login, f.owner, f.name))
	}
	return s, nil
}

func (f *Forge) examineApp(ctx context.Context, login string) (forge.Standing, error) {
	s := forge.Standing{Account: login, Kind: "GitHub App"}
	in, err := f.app.install(ctx)
	if err != nil {
		return s, err
	}
	if in.SuspendedAt != nil {
		return s, fmt.Errorf("the App's installation is suspended: %w", forge.ErrDenied)
	}
	repo, _, err := f.gh.Repositories.Get(ctx, f.owner, f.name)
	if err != nil {
		return s, fmt.Errorf("repository %s/%s: %w", f.owner, f.name, f.fail(err))
	}
	s.DefaultBranch = repo.GetDefaultBranch()
	if in.Permissions == nil {
		s.Unknown = append(s.Unknown, "GitHub does not tell the App's permissions")
		return s, nil
	}
	for _, r := range rights {
		if has := r.of(in.Permissions); has != "write" && has != r.want {
			s.Missing = append(s.Missing, fmt.Sprintf("%s: %s, %s", r.name, r.want, r.why))
		}
	}
	return s, nil
}

// expiry reads when a token ends: "2026-12-24 12:00:00 UTC" or with an offset.
func expiry(resp *http.Response) time.Time {
	text := resp.Header.Get("GitHub-Authentication-Token-Expiration")
	for _, layout := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}
