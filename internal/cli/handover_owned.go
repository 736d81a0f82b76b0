package cli

import (
	"context"
	"errors"
	"net/url"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// owned lists which target owns which object of a cluster, as trueup has it on
// record: of the server, if one is running, or of the local store.
func (a *app) owned(ctx context.Context, cfg *config.Server, realm string) (map[manifest.Ref]string, error) {
	out := map[manifest.Ref]string{}
	add := func(target string, k plan.Key, where string, pending bool) {
		if ref, err := manifest.ParseAddress(k.Address); err == nil && where == realm && !pending {
			out[ref] = target
		}
	}
	if a.server != "" || answers(ctx, cfg.Listen.Socket) {
		return out, a.call(func(c *api.Client) error { return ownedByServer(ctx, c, cfg, add) })
	}
	st, err := openStore(ctx, cfg)
	if errors.Is(err, store.ErrLocked) {
		return nil, managedError(cfg)
	}
	if err != nil {
		return nil, err
	}
	defer st.Close()
	return out, ownedInStore(ctx, st, cfg, add)
}

func inKubernetes(cfg *config.Server, environment string) bool {
	env := cfg.Environments[environment]
	return env != nil && env.Driver == "kubernetes"
}

func ownedByServer(ctx context.Context, c *api.Client, cfg *config.Server, add func(string, plan.Key, string, bool)) error {
	targets, err := c.Targets(ctx, url.Values{})
	if err != nil {
		return err
	}
	for _, t := range targets {
		if !inKubernetes(cfg, t.Environment) {
			continue
		}
		objects, err := c.Inventory(ctx, t.ID)
		if err != nil {
			return err
		}
		for _, o := range objects {
			add(t.ID, o.Key, o.Realm, o.Pending)
		}
	}
	return nil
}

func ownedInStore(ctx context.Context, st store.Store, cfg *config.Server, add func(string, plan.Key, string, bool)) error {
	f := store.TargetFilter{Page: store.Page{Limit: 500}}
	for {
		targets, next, err := st.Targets(ctx, f)
		if err != nil {
			return err
		}
		for i := range targets {
			if !inKubernetes(cfg, targets[i].Environment) {
				continue
			}
			var objects driver.Inventory
			if objects, err = st.Owned(ctx, targets[i].ID); err != nil {
				return err
			}
			for _, o := range objects {
				add(targets[i].ID, o.Key, o.Realm, o.Pending)
			}
		}
		if next == "" {
			return nil
		}
		f.After = next
	}
}
