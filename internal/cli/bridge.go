package cli

import (
	"context"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/store"
)

// actionsOf gives the engine the form that the API asks for.
func actionsOf(e *engine.Engine) api.Actions {
	b := bridge{e}
	return api.Actions{Hinter: e, Syncer: b, Decider: b, Holder: e, Mover: e, Promoter: e, Follower: e}
}

type bridge struct{ *engine.Engine }

// Sync reconciles a target.
func (b bridge) Sync(ctx context.Context, by store.Actor, a api.Action) error {
	return b.Engine.Sync(ctx, by, a.Target, engine.SyncOptions{Mode: a.Mode, Reason: a.Reason, Limit: a.Limit})
}

// Approve lets a plan proceed.
func (b bridge) Approve(ctx context.Context, by auth.Identity, target, planHash, reason string) (store.Approval, error) {
	return b.Engine.Approve(ctx, engine.Approver{Actor: by.Actor, Teams: by.Teams}, target, planHash, reason)
}

// Reject keeps a plan held.
func (b bridge) Reject(ctx context.Context, by auth.Identity, target, planHash, reason string) (store.Approval, error) {
	return b.Engine.Reject(ctx, engine.Approver{Actor: by.Actor, Teams: by.Teams}, target, planHash, reason)
}
