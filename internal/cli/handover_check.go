package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/handover/gather"
)

// checkHandover asks the cluster whether the old definitions can go.
func (a *app) checkHandover(cmd *cobra.Command, p predecessor, f *handoverFlags, args []string) error {
	if len(args) > 0 {
		return errors.New("--check reads the cluster, not files")
	}
	ctx := cmd.Context()
	c, err := f.cluster()
	if err != nil {
		return err
	}
	set, err := p.what.Live(ctx, c)
	if err == nil && len(f.only) > 0 {
		set, err = gather.Only(set, f.only, p.definition)
	}
	if err != nil {
		return err
	}
	look := gather.NewLooker(c)
	targets, err := a.newTargets(ctx, f, look)
	if err == nil && a.configPath() != "" {
		targets.Owned, err = a.ownedIn(ctx, c)
	}
	if err != nil {
		return err
	}
	var old []handover.Definition
	for _, o := range set.All {
		if d, ok := p.safe(o); ok {
			old = append(old, d)
		}
	}
	r := handover.Compare(old, targets, p.own, func(ref manifest.Ref) handover.Live { return look.Look(ctx, ref) })
	if a.table() {
		err = r.Print(cmd.OutOrStdout())
		if err == nil && len(old) == 0 {
			sayf(cmd, "%s has no definitions left in this cluster", p.title)
		}
	} else {
		err = a.print(cmd, r)
	}
	if err == nil && !r.Safe {
		err = errors.New("it is not safe yet to delete the old definitions")
	}
	return err
}

// ownedIn lists what targets own in a cluster.
func (a *app) ownedIn(ctx context.Context, c *kube.Cluster) (map[manifest.Ref]string, error) {
	cfg, err := a.handoverConfig()
	if err != nil {
		return nil, err
	}
	uid, err := c.UID(ctx)
	if err != nil {
		return nil, err
	}
	return a.owned(ctx, cfg, "kubernetes:"+uid)
}

// newTargets lists what the targets of the checkouts render, without asking
// the cluster for more than which kinds it has.
func (a *app) newTargets(ctx context.Context, f *handoverFlags, look *gather.Looker) (handover.New, error) {
	out := handover.New{Releases: map[string]string{}}
	trees, err := f.trees(ctx)
	if err != nil || len(trees) == 0 {
		return out, err
	}
	cfg, err := a.handoverConfig()
	if err != nil {
		return out, err
	}
	out.Objects = map[manifest.Ref]string{}
	for _, t := range trees {
		name, err := handoverRepository(cfg, t)
		if err != nil {
			return out, err
		}
		v := &validation{app: a, cfg: cfg, repository: name}
		resolved, err := v.resolve(ctx, t.checkout)
		if err == nil {
			err = v.diags.Err()
		}
		if err != nil {
			return out, err
		}
		for _, r := range resolved {
			if env := cfg.Environments[r.Environment]; env != nil && env.Driver == "kubernetes" {
				if err := rendered(ctx, t.checkout, r, look, &out); err != nil {
					return out, err
				}
			}
		}
	}
	return out, nil
}

func (a *app) handoverConfig() (*config.Server, error) {
	path := a.configPath()
	if path == "" {
		return nil, errors.New("--checkout needs the operator's configuration as well: name it with --config")
	}
	cfg, diags := a.load(path)
	return cfg, diags.Err()
}

// handoverRepository finds the repository that a checkout is of: by its name
// in the configuration, or by its URL.
func handoverRepository(cfg *config.Server, t namedCheckout) (string, error) {
	if cfg.Repositories[t.url] != nil {
		return t.url, nil
	}
	var names []string
	for name, r := range cfg.Repositories {
		if handover.SameRepository(r.URL) == handover.SameRepository(t.url) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 1:
		return names[0], nil
	case len(names) > 1:
		slices.Sort(names)
		return "", fmt.Errorf("%s may be a checkout of %s: write NAME=DIRECTORY", t.dir, strings.Join(names, " or "))
	}
	return "", fmt.Errorf("the configuration has no repository at %s, of which %s is a checkout", t.url, t.dir)
}

// rendered adds what a target renders.
func rendered(ctx context.Context, co *checkout, r config.Resolved, look *gather.Looker, out *handover.New) error {
	d, err := registry().Get("kubernetes")
	if err != nil {
		return err
	}
	in := driver.Input{Target: r.ID, Tree: co.snapshot.View(r.Path, r.Reads()), Path: r.Path, Spec: r.Spec, Scope: r.Scope, Values: unknownValues(r), Mode: r.Mode, Now: now(), Log: quiet()}
	prep, err := d.Prepare(ctx, in)
	if err == nil {
		err = prep.Diagnostics.Err()
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", r.Name, err)
	}
	for _, o := range prep.Desired {
		if ref, err := manifest.ParseAddress(o.Address); err == nil {
			out.Objects[look.Place(ctx, ref)] = r.ID
		}
	}
	spec, ok := r.Spec.(*kubernetes.Spec)
	switch {
	case !ok:
	case spec.Helm != nil && spec.Helm.Mode == "release":
		out.Releases[spec.Namespace+"/"+spec.Helm.ReleaseName] = r.ID
	case spec.Source != nil, spec.Helm != nil && spec.Helm.Source != nil:
		out.Open = append(out.Open, "what "+r.ID+" renders: its artefact is not at hand")
	}
	return nil
}
