package engine

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// kept gives the engine's store to source as a store of blobs.
type kept struct {
	ctx context.Context
	st  store.Store
}

// Get gives a blob; false when it is not kept.
func (k kept) Get(id string) ([]byte, bool, error) {
	b, err := k.st.Blob(k.ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// Put keeps a blob.
func (k kept) Put(id string, body []byte) error { return k.st.PutBlob(k.ctx, id, body) }

// openView opens the snapshot at the desired commit: from the mirror, or from
// the store when Git and mirror are out of reach.
func (j *job) openView(ctx context.Context) error {
	if j.view != nil {
		return nil
	}
	view, err := j.mirrorView(ctx)
	if err != nil {
		kept, kerr := j.keptView(ctx, j.desired.Commit)
		if kerr != nil {
			return fmt.Errorf("commit %.12s can be read neither from Git (%w) nor from the store (%w)", j.desired.Commit, err, kerr)
		}
		j.log.Logf("Git is out of reach (%v); the state kept in the store is used", err)
		view = kept
	}
	if j.viewID, err = view.ID(ctx); err != nil {
		return err
	}
	j.view = view
	return nil
}

func (j *job) mirrorView(ctx context.Context) (*source.View, error) {
	m, err := j.e.mirror(ctx, j.target.Repository)
	if err != nil {
		return nil, err
	}
	snap, err := m.Snapshot(ctx, j.desired.Commit)
	if err != nil {
		return nil, err
	}
	return snap.View(j.res.Path, j.res.Reads()), nil
}

// contents gets the view's files; when Git can't give them, the state kept in
// the store stands in.
func (j *job) contents(ctx context.Context) error {
	err := j.view.Prefetch(ctx)
	if err == nil {
		return nil
	}
	kept, kerr := j.keptView(ctx, j.desired.Commit)
	if kerr != nil {
		return err
	}
	j.log.Logf("Git is out of reach (%v); the state kept in the store is used", err)
	j.view = kept
	return nil
}

// reads tells that the driver needs the snapshot. Most destroy from the
// inventory alone.
func (j *job) reads() bool { return j.mode != plan.Destroy || j.drv.Info().DestroysFromTree }

// computeDigest reads the values and makes the inputs digest.
func (j *job) computeDigest(ctx context.Context) error {
	var err error
	if j.reads() {
		if j.used, err = j.values(ctx); err != nil {
			return err
		}
	}
	j.digest, err = j.inputsDigest(j.used)
	return err
}

func (j *job) keptView(ctx context.Context, commit string) (*source.View, error) {
	st, err := j.e.store.State(ctx, j.target.ID, commit)
	if err != nil {
		return nil, err
	}
	var entries []source.Entry
	if err := json.Unmarshal(st.Listing, &entries); err != nil {
		return nil, err
	}
	// Reading happens after this call has returned, within the run.
	snap := source.Stored(entries, kept{context.WithoutCancel(ctx), j.e.store}, source.Limits{})
	return snap.View(j.res.Path, j.res.Reads()), nil
}

// inputsDigest is the one digest that decides due, stale and approved. Values
// enter by a keyed hash, connection credentials not at all.
func (j *job) inputsDigest(values map[string]plan.Output) (string, error) {
	raw, err := json.Marshal(values)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(struct {
		View, Spec, Scope, Environment, Driver, Version, Connect, Policy, Values, Path string
		Grants                                                                         []string
		Addresses                                                                      map[plan.Address]plan.Address
		Mode                                                                           plan.Mode
	}{View: j.viewID, Spec: string(j.res.RawSpec), Scope: string(j.res.RawScope), Environment: j.env.Name,
		Driver: j.env.Driver, Version: j.drv.Info().Version, Connect: j.env.ConnectDigest, Policy: j.rules.digest,
		Values: j.e.keyed(raw), Path: j.res.Path, Grants: grantTexts(j.grants), Addresses: j.res.Addresses, Mode: j.mode})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// grantTexts gives the grants in a form to hash. A scope counts by its type's
// exported fields.
func grantTexts(grants []config.Grant) []string {
	out := make([]string, len(grants))
	for i, g := range grants {
		b, err := json.Marshal(g.Scope)
		if err != nil {
			b = fmt.Appendf(nil, "%+v", g.Scope)
		}
		out[i] = fmt.Sprintf("%s %v %s", g.Branch, g.Paths, b)
	}
	return out
}

// keyed is a keyed hash for values that must not be guessable from what is
// stored.
func (e *Engine) keyed(b []byte) string {
	m := hmac.New(sha256.New, e.maskKey)
	m.Write(b)
	return hex.EncodeToString(m.Sum(nil))
}

// values reads the outputs that the target uses. One that is not there yet is
// unknown; one that the target may not read is an error.
func (j *job) values(ctx context.Context) (map[string]plan.Output, error) {
	out := map[string]plan.Output{}
	for name, ref := range j.res.Values {
		if err := j.mayRead(ctx, name, ref); err != nil {
			return nil, err
		}
		all, err := j.e.store.Outputs(ctx, ref.Target)
		if err != nil {
			return nil, err
		}
		o, ok := all[ref.Output]
		if !ok {
			o = plan.Output{Unknown: true}
		}
		out[name] = o
	}
	return out, nil
}

// mayRead checks a value against the target that gives it, as it is or, for a
// pull request, as it would be.
func (j *job) mayRead(ctx context.Context, name string, ref config.ValueRef) error {
	if c := j.coming[ref.Target]; c != nil {
		return permanent(readableFrom(c, j.res, ref))
	}
	up, err := j.e.store.Target(ctx, ref.Target)
	if err != nil {
		return fmt.Errorf("value %s: target %s: %w", name, ref.Target, err)
	}
	return permanent(readable(up, j.res, ref))
}

// permanent marks an error as one that no retry mends.
func permanent(err error) error {
	if err == nil {
		return nil
	}
	return driver.Permanent(err)
}

// readable checks who may read an output.
func readable(up store.Target, by *config.Resolved, ref config.ValueRef) error {
	var r config.Resolved
	if err := json.Unmarshal(up.Config, &r); err != nil {
		return err
	}
	r.Repository = up.Repository
	return readableFrom(&r, by, ref)
}

func readableFrom(up, by *config.Resolved, ref config.ValueRef) error {
	x, declared := up.Outputs[ref.Output]
	if !declared {
		return fmt.Errorf("target %s does not declare the output %q", ref.Target, ref.Output)
	}
	if len(x.ReadableBy) == 0 && up.Repository == by.Repository {
		return nil
	}
	for _, name := range x.ReadableBy {
		if name == by.Name && up.Repository == by.Repository || name == by.ID {
			return nil
		}
	}
	return fmt.Errorf("output %s of %s may not be read by %s; add it to readableBy", ref.Output, ref.Target, by.Name)
}

// prepare makes the driver's input and lets it read the snapshot.
func (j *job) prepare(ctx context.Context) error {
	if j.reads() {
		if err := j.contents(ctx); err != nil {
			return err
		}
	}
	inv, err := j.e.store.Owned(ctx, cmp.Or(j.inventoryOf, j.target.ID))
	if err != nil {
		return err
	}
	j.input = driver.Input{Target: j.target.ID, Tree: j.view, Path: j.res.Path, Spec: j.res.Spec, Scope: j.res.Scope,
		Values: j.used, Inventory: inv, Previously: j.res.Addresses, Mode: j.mode, Now: j.e.clock(), Log: j.e.log}
	if !j.reads() {
		j.input.Tree = nil
		return nil
	}
	prep, err := j.drv.Prepare(ctx, j.input)
	if err != nil {
		return err
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return driver.Permanent(err)
	}
	if len(prep.Desired) == 0 && j.mode != plan.Destroy {
		return driver.Permanent(fmt.Errorf("%s asks for nothing at commit %.12s: an empty desired state never prunes; "+
			"remove the target from trueup.yaml if that is meant", j.res.Path, j.desired.Commit))
	}
	j.input.Prepared = prep
	return nil
}

// keep stores the inputs of this state, so that drift correction and rollback
// need no Git.
func (j *job) keep(ctx context.Context, kind string) error {
	if j.mode == plan.Destroy || j.desired.Source == "local" && (j.res.Rollout == nil || strings.HasSuffix(j.desired.Commit, worktree)) {
		return nil
	}
	have, err := j.e.store.State(ctx, j.target.ID, j.desired.Commit)
	if err == nil && (kind == "applied" || have.Kind == kind) {
		return nil
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	entries, err := j.view.Save(ctx, kept{ctx, j.e.store})
	if err != nil {
		return err
	}
	listing, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	return j.e.store.KeepState(ctx, j.lease.Fence, j.target.ID, store.KeptState{Commit: j.desired.Commit, Kind: kind,
		Listing: listing, Config: j.target.Config, At: j.e.clock()}, keepStates)
}

// worktree ends the name of what is not a commit: it may hold something else
// the next time.
const worktree = "+worktree"

// keepStates is how many states of a target stay in the store.
const keepStates = 5
