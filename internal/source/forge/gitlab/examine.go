package gitlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

// Examine asks what the token is worth ("Personal access tokens API", self;
// project and group tokens answer there too) and what its account may do.
func (f *Forge) Examine(ctx context.Context) (forge.Standing, error) {
	me, err := f.own(ctx)
	if err != nil {
		return forge.Standing{}, err
	}
	s := forge.Standing{Account: me, Kind: "access token"}
	var token struct {
		Scopes  []string `json:"scopes"`
		Expires string   `json:"expires_at"`
	}
	err = f.get(ctx, "/personal_access_tokens/self", nil, &token)
	switch {
	case errors.Is(err, forge.ErrNotFound), errors.Is(err, forge.ErrDenied):
		s.Unknown = append(s.Unknown, "the token's scopes")
	case err != nil:
		return s, fmt.Errorf("the token: %w", err)
	default:
		if !slices.Contains(token.Scopes, "api") {
			s.Missing = append(s.Missing, "the scope api, for comments, statuses and merge requests")
		}
		if t, err := time.Parse(time.DateOnly, token.Expires); err == nil {
			s.Expires = t
		}
	}
	p, err := f.Permission(ctx, me)
	if err != nil {
		return s, err
	}
	if p < forge.CanWrite {
		s.Missing = append(s.Missing, "the role Developer in the project, for statuses, promotion and write-back")
	}
	if p < forge.CanMaintain {
		s.Missing = append(s.Missing, "the role Maintainer in the project, for trueup webhook install and protected branches")
	}
	return s, nil
}
