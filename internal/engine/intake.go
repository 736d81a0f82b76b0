package engine

import (
	"bytes"
	"context"
	"encoding/json"

	"fmt"
	"path"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/store"
)

// manifestName is the file in a repository that declares targets.
const manifestName = "trueup.yaml"

// maxManifest bounds a trueup.yaml in bytes.
const maxManifest = 16 << 20

// mirrored is what an intake reads of a repository.
type mirrored interface {
	Snapshot(ctx context.Context, commit string) (*source.Snapshot, error)
	Changed(ctx context.Context, from, to string) ([]string, error)
	Find(ctx context.Context, commit, basename string) ([]source.Entry, error)
	Entries(ctx context.Context, commit, dir string, recursive bool) ([]source.Entry, error)
}

// intake takes one commit of one repository in: which manifests changed, which
// targets they declare, which targets the changed paths concern.
type intake struct {
	cfg    *active
	conf   *config.Repository
	mirror mirrored
	state  store.RepositoryState
	rev    source.Revision
	cause  string
	actor  store.Actor
	fence  store.Fence // of the poll

	index    *repoIndex
	snapshot *source.Snapshot
	changed  []string
	full     bool // every manifest is resolved anew
	all      bool // every target is due
	found
}

// found is what an intake comes to.
type found struct {
	invalid plan.Diagnostics
	// frozen lists manifests that could not be read at this commit; their
	// targets stay as they are.
	frozen map[string]bool
	put    map[string]*config.Resolved
	orphan map[string]bool
	due    map[string]bool
	// mended lists manifests that had mistakes at the last commit: what changed
	// below their targets meanwhile was not taken in.
	mended map[string]bool
}

func (e *Engine) intake(ctx context.Context, in intake) error {
	in.found = found{frozen: map[string]bool{}, put: map[string]*config.Resolved{}, orphan: map[string]bool{},
		due: map[string]bool{}, mended: map[string]bool{}}
	var err error
	if in.index, err = e.loadIndex(ctx, in.conf.Name, in.state); err != nil {
		return err
	}
	if in.snapshot, err = in.mirror.Snapshot(ctx, in.rev.Commit); err != nil {
		return err
	}
	if err := in.diff(ctx); err != nil {
		return err
	}
	manifests, err := in.changedManifests(ctx)
	if err != nil {
		return err
	}
	if err := in.resolve(ctx, e, manifests); err != nil {
		return err
	}
	if err := in.concern(e.drivers); err != nil {
		return err
	}
	return e.takeIn(ctx, &in)
}

// diff finds the changed paths; with no commit to compare with, or under a
// new configuration, everything counts as changed.
func (in *intake) diff(ctx context.Context) error {
	in.all = in.state.Head == ""
	in.full = in.all || in.state.ConfigVer != in.cfg.version
	if in.all || in.state.Head == in.rev.Commit {
		return nil
	}
	changed, err := in.mirror.Changed(ctx, in.state.Head, in.rev.Commit)
	if err != nil {
		in.full, in.all = true, true // the old commit is gone (a followed force push)
		return nil
	}
	in.changed = changed
	return nil
}

// changedManifests lists the trueup.yaml files to resolve anew: those that
// changed, and those that had mistakes.
func (in *intake) changedManifests(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	for _, d := range in.state.Invalid.Errors() {
		if path.Base(d.File) == manifestName {
			out[d.File], in.mended[d.File] = true, true
		}
	}
	if in.full {
		found, err := in.mirror.Find(ctx, in.rev.Commit, manifestName)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			out[f.Path] = true
		}
		for m := range in.index.manifests {
			out[m] = true
		}
		return out, nil
	}
	for _, p := range in.changed {
		if path.Base(p) == manifestName {
			out[p] = true
		}
	}
	return out, in.changedDirs(ctx, out)
}

// changedDirs adds the manifests whose `each` globs see a directory that came
// or went.
func (in *intake) changedDirs(ctx context.Context, out map[string]bool) error {
	bases := in.index.eachBases()
	listed := map[string]map[string]bool{}
	for _, p := range in.changed {
		for base, eb := range bases {
			dir, ok := childOf(base, p)
			if !ok || out[eb.manifest] {
				continue
			}
			now := listed[base]
			if now == nil {
				now = map[string]bool{}
				entries, err := in.mirror.Entries(ctx, in.rev.Commit, base, false)
				if err != nil && !isNotExist(err) {
					return err
				}
				for _, en := range entries {
					now[path.Base(en.Path)] = true
				}
				listed[base] = now
			}
			if now[dir] != eb.dirs[dir] {
				out[eb.manifest] = true
			}
		}
	}
	return nil
}

// childOf gives the first path element of p below base.
func childOf(base, p string) (string, bool) {
	rest := p
	if base != "." && base != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(p, base+"/"); !ok {
			return "", false
		}
	}
	dir, _, isDir := strings.Cut(rest, "/")
	return dir, isDir
}

// resolve reads the manifests at the new commit and compares their targets
// with those known.
func (in *intake) resolve(ctx context.Context, e *Engine, manifests map[string]bool) error {
	names := sortedKeys(manifests)
	bodies, err := in.read(ctx, names)
	if err != nil {
		return err
	}
	rc := config.Context{Repository: in.conf.Name, Server: in.cfg.Server, Drivers: e.drivers,
		Tree: in.snapshot.View(".", []string{"**"}), Branch: in.rev.Ref}
	var fresh []config.Resolved
	for _, name := range names {
		if body, ok := bodies[name]; ok {
			fresh = append(fresh, in.resolveOne(rc, name, body)...)
		}
	}
	in.compare(manifests, in.check(manifests, fresh))
	return nil
}

// read gets the manifests that are there at the commit, in one request.
func (in *intake) read(ctx context.Context, names []string) (map[string][]byte, error) {
	var entries []source.Entry
	for _, name := range names {
		e, ok, err := in.snapshot.Tree().Lookup(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if ok && !e.IsDir() && e.Mode != source.ModeSymlink {
			entries = append(entries, e)
		}
	}
	texts, err := in.snapshot.ReadEntries(ctx, entries)
	if err != nil {
		return nil, err
	}
	bodies := make(map[string][]byte, len(entries))
	for i, e := range entries {
		bodies[e.Path] = texts[i]
	}
	return bodies, nil
}

func (in *intake) resolveOne(rc config.Context, name string, body []byte) []config.Resolved {
	if len(body) > maxManifest {
		in.invalid.Errorf(plan.Source{File: name}, "", "split it", "the file has %d bytes, the limit is %d", len(body), maxManifest)
		in.frozen[name] = true
		return nil
	}
	m, diags := config.ParseManifest(name, body)
	var resolved []config.Resolved
	if diags.Err() == nil {
		var more plan.Diagnostics
		resolved, more = config.Resolve(rc, name, m)
		diags = append(diags, more...)
	}
	in.invalid = append(in.invalid, diags...)
	if diags.Err() != nil {
		in.frozen[name] = true
		return nil
	}
	return resolved
}

// check looks at the repository's targets as a whole: double names, two
// targets on one thing, references that lead nowhere, cycles. It gives the
// fresh targets with their references resolved; manifests at fault are frozen.
func (in *intake) check(manifests map[string]bool, fresh []config.Resolved) map[string]*config.Resolved {
	next := map[string]*config.Resolved{}
	if len(fresh) == 0 {
		return next
	}
	all := fresh
	for _, id := range sortedKeys(in.index.targets) {
		if r := in.index.targets[id]; !manifests[r.Manifest] || in.frozen[r.Manifest] {
			all = append(all, *r)
		}
	}
	diags := config.Check(all)
	in.invalid = append(in.invalid, diags...)
	for _, d := range diags.Errors() {
		in.frozen[d.File] = true
	}
	for i := range fresh {
		if !in.frozen[all[i].Manifest] {
			next[all[i].ID] = &all[i]
		}
	}
	return next
}

// compare marks what is new or different, and what left Git. Targets of a
// frozen manifest stay as they are.
func (in *intake) compare(manifests map[string]bool, next map[string]*config.Resolved) {
	for id, r := range next {
		if old := in.index.targets[id]; old == nil || in.mended[r.Manifest] || !sameConfig(old, r) {
			in.put[id] = r
			in.due[id] = true
		}
	}
	for name := range manifests {
		if in.frozen[name] {
			continue
		}
		for _, id := range in.index.manifests[name] {
			if next[id] == nil {
				in.orphan[id] = true
			}
		}
	}
}

func sameConfig(a, b *config.Resolved) bool {
	x, y := *a, *b
	x.Source, y.Source = plan.Source{}, plan.Source{}
	ja, errA := json.Marshal(x)
	jb, errB := json.Marshal(y)
	return errA == nil && errB == nil && bytes.Equal(ja, jb)
}

// concern marks the targets that the changed paths touch as due.
func (in *intake) concern(drivers driver.Registry) error {
	hit := map[string]bool{}
	if in.all && in.state.Head != in.rev.Commit {
		for id := range in.index.targets {
			hit[id] = true
		}
	}
	for _, p := range in.changed {
		in.index.paths.find(p, hit)
	}
	for id := range hit {
		r := in.index.targets[id]
		if r == nil || in.orphan[id] || in.frozen[r.Manifest] {
			continue
		}
		if in.put[id] == nil {
			again, err := in.follow(drivers, r)
			if err != nil {
				return fmt.Errorf("target %s: %w", id, err)
			}
			in.put[id] = again
		}
		in.due[id] = true
	}
	return nil
}

// follow looks again at what a target reads, because a file of it changed.
func (in *intake) follow(drivers driver.Registry, r *config.Resolved) (*config.Resolved, error) {
	if _, ok := drivers[r.Driver].(driver.Follower); !ok {
		return r, nil
	}
	c := *r
	if err := c.Decode(drivers); err != nil {
		return nil, err
	}
	return &c, c.Follow(drivers, in.snapshot.View(".", []string{"**"}))
}

// eachBase is a directory whose sub directories become targets.
type eachBase struct {
	manifest string
	dirs     map[string]bool
}

// eachBases lists, for targets made by `each: base/*`, the base directories
// with the sub directories known.
func (x *repoIndex) eachBases() map[string]eachBase {
	out := map[string]eachBase{}
	for _, r := range x.targets {
		if r.EachBase == "" {
			continue
		}
		eb, ok := out[r.EachBase]
		if !ok {
			eb = eachBase{manifest: r.Manifest, dirs: map[string]bool{}}
			out[r.EachBase] = eb
		}
		eb.dirs[r.EachDir] = true
	}
	return out
}
