package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// Follower knows the images and charts that targets follow.
type Follower interface {
	// Images lists them as they were seen last; the names are targets, or globs.
	Images(ctx context.Context, only []string) ([]edit.Followed, error)
	// CheckImages asks the registries now.
	CheckImages(ctx context.Context, by store.Actor, c edit.Check) ([]edit.Followed, error)
}

func (s *Server) images(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := unhurried(w, r)
	defer cancel()
	all, err := s.Actions.Images(ctx, r.URL.Query()["target"])
	if err != nil {
		return errRefused{err}
	}
	return reply(w, http.StatusOK, seenBy(caller(r), all))
}

// seenBy keeps what an identity may see.
func seenBy(id auth.Identity, all []edit.Followed) List[edit.Followed] {
	out := List[edit.Followed]{Items: []edit.Followed{}}
	for _, f := range all {
		if id.Sees(f.Environment) {
			out.Items = append(out.Items, f)
		}
	}
	return out
}

func (s *Server) checkImages(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := unhurried(w, r)
	defer cancel()
	var c edit.Check
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return fault(http.StatusBadRequest, "invalid", "the body is not a valid check: "+err.Error())
	}
	known, err := s.Actions.Images(ctx, c.Only)
	if err != nil {
		return errRefused{err}
	}
	// Asked are only the registries of targets that the caller may poll for.
	var only []string
	for _, f := range seenBy(caller(r), known).Items {
		if err := auth.Allow(caller(r), auth.Poll, auth.Object{Environment: f.Environment}); err != nil {
			return err
		}
		if !slices.Contains(only, f.Target) {
			only = append(only, f.Target)
		}
	}
	if len(only) == 0 {
		return reply(w, http.StatusOK, List[edit.Followed]{Items: []edit.Followed{}})
	}
	c.Only = only
	all, err := s.Actions.CheckImages(ctx, caller(r).Actor, c)
	if err != nil {
		return errRefused{err}
	}
	return reply(w, http.StatusOK, seenBy(caller(r), all))
}

// Images lists the images and charts that targets follow.
func (c *Client) Images(ctx context.Context, only []string) ([]edit.Followed, error) {
	var out List[edit.Followed]
	err := c.get(ctx, "/api/v1/images", url.Values{"target": only}, &out)
	return out.Items, err
}

// CheckImages asks the registries now.
func (c *Client) CheckImages(ctx context.Context, check edit.Check) ([]edit.Followed, error) {
	var out List[edit.Followed]
	resp, err := c.do(ctx, http.MethodPost, "/api/v1/images/check", check, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return out.Items, json.NewDecoder(resp.Body).Decode(&out)
}
