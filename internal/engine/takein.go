package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// takeIn writes what the intake found, in one transaction with the triggers,
// and brings the index up to date.
func (e *Engine) takeIn(ctx context.Context, in *intake) error {
	if err := e.renames(ctx, in); err != nil {
		return err
	}
	desired := store.Desired{Commit: in.rev.Commit, Ref: in.rev.Ref, Source: in.followed(), Actor: in.actor, At: e.clock()}
	var put []store.Target
	var triggers []store.Trigger
	for _, id := range sortedKeys(in.put) {
		r := in.put[id]
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		put = append(put, store.Target{ID: id, Repository: r.Repository, Manifest: r.Manifest, Name: r.Name,
			Environment: r.Environment, Config: body, State: store.Active, Desired: desired})
		if err := e.clearPin(ctx, in, id, r, desired); err != nil {
			return err
		}
		if in.due[id] {
			triggers = append(triggers, store.Trigger{Kind: store.Reconcile, Key: id, Slot: r.Environment,
				Class: store.ByPush, Cause: in.triggerCause(), Actor: in.actor, Commit: in.rev.Commit})
		}
	}
	st := in.state
	st.Head, st.Ref, st.ConfigVer = in.rev.Commit, in.rev.Ref, in.cfg.version
	st.FetchedAt, st.Error, st.ErrorAt, st.Invalid = e.clock(), "", time.Time{}, in.invalid
	orphan := sortedKeys(in.orphan)
	removals, err := in.removals(orphan)
	if err != nil {
		return err
	}
	triggers = append(triggers, removals...)
	triggers = append(triggers, in.landings()...)
	if err := e.land(ctx, in); err != nil {
		return err
	}
	if err := e.store.PutTargets(ctx, st, put, orphan, triggers); err != nil {
		return err
	}
	follows := in.index.follows()
	e.updateIndex(in, st)
	if follows = follows || in.index.follows(); follows {
		if err := e.wantImages(ctx, st.Name, store.ByClock, "commit", in.actor); err != nil {
			return err
		}
	}
	if follows || len(in.index.promotes) > 0 {
		if err := e.wantProposals(ctx, st.Name, store.ByClock, "promotion", "system:promotion"); err != nil {
			return err
		}
	}
	return e.intakeEvents(ctx, in, orphan)
}

// removals asks for a destroy plan of the targets that left Git and said so
// with onRemove. The plan is held for an approval like any other of its kind.
func (in *intake) removals(orphan []string) ([]store.Trigger, error) {
	var ts []store.Trigger
	for _, id := range orphan {
		r := in.index.targets[id]
		if r == nil || r.OnRemove != "destroy" {
			continue
		}
		body, err := json.Marshal(request{Mode: plan.Destroy, Reason: "onRemove: destroy"})
		if err != nil {
			return nil, err
		}
		ts = append(ts, store.Trigger{Kind: store.Reconcile, Key: id, Slot: r.Environment, Class: store.ByPerson,
			Cause: "removed", Actor: in.actor, Commit: in.rev.Commit, Payload: body})
	}
	return ts, nil
}

func (in *intake) triggerCause() string {
	switch in.cause {
	case "push", "webhook":
		return "push"
	case "config":
		return "config"
	}
	return "poll"
}

// followed says what kind of reference the repository follows.
func (in *intake) followed() string { return followedBy(in.conf) }

func followedBy(conf *config.Repository) string {
	switch {
	case conf.Tags != "":
		return "tag"
	case conf.Commit != "":
		return "commit"
	}
	return "branch"
}

// renames moves what a target owned under an earlier id to the new one.
func (e *Engine) renames(ctx context.Context, in *intake) error {
	for id, r := range in.put {
		if in.index.targets[id] != nil {
			continue
		}
		for _, prev := range r.PreviousIDs {
			if in.put[prev] != nil || prev == id {
				continue
			}
			if in.index.targets[prev] != nil && !in.orphan[prev] {
				continue // it is still there under its old name
			}
			if other, err := e.elsewhere(ctx, prev, id, r.Environment); err != nil || other {
				if err != nil {
					return err
				}
				continue
			}
			err := e.store.Rename(ctx, prev, id)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			delete(in.orphan, prev)
			if old := in.index.targets[prev]; old != nil {
				in.index.remove(old)
			}
			if err := e.event(ctx, in.actor, "target.renamed", id, "", map[string]any{"from": prev}); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// elsewhere tells whether prev, the bare id of a target that now has several
// environments, was in another environment than id is.
func (e *Engine) elsewhere(ctx context.Context, prev, id, environment string) (bool, error) {
	if !strings.HasPrefix(id, prev+"@") {
		return false, nil
	}
	t, err := e.store.Target(ctx, prev)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return t.Environment != environment, err
}

// clearPin ends a rollback's pin when the target's own inputs are no longer
// those that were rolled back from.
func (e *Engine) clearPin(ctx context.Context, in *intake, id string, r *config.Resolved, d store.Desired) error {
	if in.index.targets[id] == nil {
		return nil
	}
	t, err := e.store.Target(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil || t.Desired.Source != "pin" {
		return err
	}
	now, err := in.snapshot.View(r.Path, r.Reads()).ID(ctx)
	if err != nil || now == t.Desired.Bad {
		return err
	}
	if err := e.store.SetDesired(ctx, id, d); err != nil {
		return err
	}
	return e.event(ctx, in.actor, "target.unpinned", id, "", map[string]any{"commit": d.Commit})
}

// updateIndex follows in memory what was stored.
func (e *Engine) updateIndex(in *intake, st store.RepositoryState) {
	r := e.repos.get(in.conf.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range in.orphan {
		if old := in.index.targets[id]; old != nil {
			in.index.remove(old)
		}
	}
	for _, t := range in.put {
		in.index.add(t)
	}
	in.index.head, in.index.configVer = st.Head, st.ConfigVer
	r.index = in.index
}

func (e *Engine) intakeEvents(ctx context.Context, in *intake, orphan []string) error {
	for _, id := range orphan {
		if err := e.event(ctx, in.actor, "target.orphaned", id, "", map[string]any{"commit": in.rev.Commit}); err != nil {
			return err
		}
	}
	if len(in.invalid.Errors()) > 0 {
		e.log.Warn("the repository has mistakes; the targets concerned stay as they are",
			"repository", in.conf.Name, "commit", in.rev.Commit, "errors", in.invalid.Errors().Error())
	}
	return e.event(ctx, in.actor, "repository.commit", "", "", map[string]any{"repository": in.conf.Name, "commit": in.rev.Commit,
		"ref": in.rev.Ref, "author": in.rev.Author, "subject": in.rev.Subject, "targets": len(in.due), "errors": len(in.invalid.Errors())})
}

// event adds one event.
func (e *Engine) event(ctx context.Context, by store.Actor, kind, target, run string, data map[string]any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return e.store.AddEvent(ctx, store.Event{Actor: by, Kind: kind, Target: target, Run: run, Data: body})
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
