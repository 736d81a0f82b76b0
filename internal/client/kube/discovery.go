package kube

import (
	"context"

	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"trueup.dev/trueup/internal/driver"
)

// asker asks a server for its kinds.
type asker struct{ *discovery.DiscoveryClient }

// all asks for all kinds. A group whose own server is down is listed as failed:
// its kinds are not known, and by no means gone.
func (a asker) all(ctx context.Context) (*known, error) {
	groups, resources, failed, err := a.GroupsAndMaybeResourcesWithContext(ctx)
	if err != nil {
		return nil, read(fmt.Errorf("the API server's kinds: %w", err))
	}
	n := &known{versions: map[string][]string{}, kinds: map[schema.GroupVersion]map[string]Mapping{}, failed: failed}
	for i := range groups.Groups {
		n.versions[groups.Groups[i].Name] = ordered(&groups.Groups[i])
	}
	// client-go takes 404 and 403 here for "no groups".
	if !slices.Contains(n.versions[""], "v1") {
		return nil, fmt.Errorf("%w: the server's list of its kinds lacks those of every Kubernetes: is this an API server, and may the user read its discovery (system:discovery)?", driver.ErrUnreachable)
	}
	for gv, list := range resources {
		n.kinds[gv] = fill(gv, list)
	}
	if resources == nil { // a server older than 1.27 has no list of all
		return n, a.one(ctx, n, slices.Collect(maps.Keys(n.versions))...)
	}
	return n, nil
}

// group asks for the kinds of one group directly, and gives what is known then.
func (a asker) group(ctx context.Context, was *known, group string) (*known, error) {
	n := &known{versions: maps.Clone(was.versions), kinds: maps.Clone(was.kinds), failed: was.failed}
	if group == "" {
		return n, a.one(ctx, n, "")
	}
	var g metav1.APIGroup
	err := a.RESTClient().Get().AbsPath("/apis/" + group).Do(ctx).Into(&g)
	if apierrors.IsNotFound(err) {
		return was, nil
	}
	if err != nil {
		return nil, read(fmt.Errorf("the API group %s: %w", group, err))
	}
	n.versions[group] = ordered(&g)
	return n, a.one(ctx, n, group)
}

// one asks for each version of groups by itself.
func (a asker) one(ctx context.Context, n *known, groups ...string) error {
	for _, g := range groups {
		for _, v := range n.versions[g] {
			gv := schema.GroupVersion{Group: g, Version: v}
			list, err := a.ServerResourcesForGroupVersionWithContext(ctx, gv.String())
			switch {
			case apierrors.IsNotFound(err), apierrors.IsServiceUnavailable(err):
				n.failed = maps.Clone(n.failed)
				n.failed[gv] = err
				delete(n.kinds, gv)
			case err != nil:
				return read(fmt.Errorf("kinds of %s: %w", gv, err))
			default:
				n.kinds[gv] = fill(gv, list)
				n.failed = maps.Clone(n.failed)
				delete(n.failed, gv)
			}
		}
	}
	return nil
}

// ordered gives a group's versions, the preferred one first.
func ordered(g *metav1.APIGroup) []string {
	list := []string{g.PreferredVersion.Version}
	for _, v := range g.Versions {
		if v.Version != g.PreferredVersion.Version {
			list = append(list, v.Version)
		}
	}
	if list[0] == "" {
		return list[1:]
	}
	return list
}
