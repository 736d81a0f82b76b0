package release

import (
	"errors"

	"helm.sh/helm/v4/pkg/storage/driver"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// restrict lets an action delete only what goes, and hooks.
func (a *act) restrict(r *Release, goes func(manifest.Ref) bool, list []Hook) {
	w, ok := a.config.KubeClient.(*watched)
	if !ok || goes == nil {
		return
	}
	w.goes, w.hooks = goes, map[manifest.Ref]bool{}
	for i := range list {
		ref := list[i].Ref()
		w.hooks[ref] = true
		if ref.Namespace == "" {
			ref.Namespace = r.Namespace
			w.hooks[ref] = true
		}
	}
}

// restrictTo is restrict for an action on what is recorded.
func (a *act) restrictTo(r *Release, goes func(manifest.Ref) bool) error {
	if goes == nil {
		return nil
	}
	list, err := a.config.Releases.History(r.Name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []Hook
	for _, x := range list {
		rel, err := v1(x)
		if err != nil {
			return err
		}
		h, err := hooks(rel.Hooks)
		if err != nil {
			return err
		}
		all = append(all, h...)
	}
	a.restrict(r, goes, all)
	return nil
}
