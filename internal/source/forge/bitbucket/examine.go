package bitbucket

import (
	"context"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/rest"
)

// needs are the scopes of access tokens, each with what it is for. The greater
// ones stand for the smaller.
var needs = []struct {
	any  []string
	what string
}{
	{[]string{"repository", "repository:write", "repository:admin"}, "repository, for commits and statuses"},
	{[]string{"pullrequest:write"}, "pullrequest:write, for comments and proposals"},
	{[]string{"webhook"}, "webhook, for trueup webhook install"},
	{[]string{"account"}, "account, for permissions and groups"},
}

// Examine asks whether the token works, and for its scopes, which every answer
// names in a header.
func (f *Forge) Examine(ctx context.Context) (forge.Standing, error) {
	h, err := f.c.Do(ctx, rest.Call{Path: f.path()})
	if err != nil {
		return forge.Standing{}, err
	}
	s := forge.Standing{Kind: "access token"}
	if s.Account, err = f.own(ctx); err != nil {
		return s, err
	}
	if h.Get("X-OAuth-Scopes") == "" {
		s.Unknown = append(s.Unknown, "the token's scopes")
		return s, nil
	}
	have := strings.FieldsFunc(h.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	for _, n := range needs {
		if !slices.ContainsFunc(n.any, func(s string) bool { return slices.Contains(have, s) }) {
			s.Missing = append(s.Missing, n.what)
		}
	}
	return s, nil
}
