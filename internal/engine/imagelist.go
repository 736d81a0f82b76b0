package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// Images lists what targets follow, as the registries told when they were
// looked at last. The names are targets, or globs; none is all.
func (e *Engine) Images(ctx context.Context, only []string) ([]edit.Followed, error) {
	return e.images(ctx, only, nil)
}

// CheckImages asks the registries now and tells what would be proposed. Unless
// it is a dry run, the work that notes and proposes it is asked for as well.
func (e *Engine) CheckImages(ctx context.Context, by store.Actor, c edit.Check) ([]edit.Followed, error) {
	rounds := map[string]*imageRound{}
	out, err := e.images(ctx, c.Only, func(res *config.Resolved, im config.Image, was seenImage) seenImage {
		r := rounds[res.Repository]
		if r == nil {
			r = &imageRound{e: e, cfg: e.cfg.Load(), repo: res.Repository}
			rounds[res.Repository] = r
		}
		return r.look(ctx, im, was)
	})
	if err != nil || c.DryRun {
		return out, err
	}
	for _, repo := range sortedKeys(rounds) {
		if err := e.event(ctx, by, "images.check", "", "", map[string]any{"repository": repo, "only": c.Only}); err != nil {
			return out, err
		}
		if err := e.wantImages(ctx, repo, store.ByPerson, "person", by); err != nil {
			return out, err
		}
	}
	return out, nil
}

// images lists what is followed; look asks anew, nil takes what was seen.
func (e *Engine) images(ctx context.Context, only []string, look func(*config.Resolved, config.Image, seenImage) seenImage) ([]edit.Followed, error) {
	grounds := map[string]*ground{}
	var out []edit.Followed
	err := e.eachTarget(ctx, store.TargetFilter{State: store.Active}, func(t store.Target) error {
		if !chosen(only, t, t.ID) {
			return nil
		}
		res := &config.Resolved{}
		if err := json.Unmarshal(t.Config, res); err != nil {
			return fmt.Errorf("target %s: stored configuration: %w", t.ID, err)
		}
		if len(res.Images) == 0 {
			return nil
		}
		rec, err := e.store.Edit(ctx, store.SeenVersions, t.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		g, gerr := e.groundAsTaken(ctx, grounds, res.Repository)
		seen := seenOf(rec)
		for _, im := range res.Images {
			s := imageSpot{res: res, im: im, seen: seen[entryOf(im)]}
			if look != nil {
				s.seen = look(res, im, s.seen)
			}
			f, err := e.followed(ctx, g, gerr, s)
			if err != nil {
				return err
			}
			out = append(out, f)
		}
		return nil
	})
	return out, err
}

// followed shows one image; what is wrong with it is said in its place.
func (e *Engine) followed(ctx context.Context, g *ground, err error, s imageSpot) (edit.Followed, error) {
	f := compared{Followed: s.shown()}
	if err == nil {
		f, err = s.compare(ctx, g)
	}
	if err != nil {
		f.Error = err.Error()
	}
	key := s.res.ID
	if s.im.Group != "" {
		key = groupKey(s.res.Repository, s.im.Group)
	}
	rec, err := e.store.Edit(ctx, store.VersionUpdate, key)
	if errors.Is(err, store.ErrNotFound) {
		return f.Followed, nil
	}
	if err == nil && (rec.State == store.EditProposed || rec.State == store.EditPushed || rec.State == store.EditRefused || rec.Error != "") && f.State == edit.FollowedUpdate {
		f.Proposal = &edit.Auto{State: string(rec.State), Since: rec.Since, URL: rec.URL, Error: rec.Error}
	}
	return f.Followed, err
}

// groundAsTaken is a repository as it was taken in last; nothing is fetched.
func (e *Engine) groundAsTaken(ctx context.Context, grounds map[string]*ground, repository string) (*ground, error) {
	if g := grounds[repository]; g != nil {
		return g, nil
	}
	conf, ok := e.cfg.Load().Repositories[repository]
	if !ok {
		return nil, fmt.Errorf("repository %q: %w", repository, store.ErrNotFound)
	}
	st, err := e.store.Repository(ctx, repository)
	if err != nil {
		return nil, err
	}
	g := &ground{conf: conf, head: st.Head}
	if g.mirror, err = e.mirror(ctx, repository); err != nil {
		return nil, err
	}
	grounds[repository] = g
	return g, nil
}
