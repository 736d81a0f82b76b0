package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/driver"
)

// ErrNoKind tells that the server does not serve a kind (yet).
var ErrNoKind = errors.New("the API server has no such kind")

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// Mapping is a kind as the server serves it.
type Mapping struct {
	Kind       schema.GroupVersionKind
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Verbs are what the server can do with it: get, list, watch, patch, delete.
	Verbs []string
	// Status tells that objects of the kind have a status that is written on its
	// own.
	Status bool
}

// kinds remembers which kinds a server has. A kind that is missing is asked
// for again, but not more often than patience allows.
type kinds struct {
	ask       asker
	lock      lock // held while the server is asked
	now       atomic.Pointer[known]
	forgotten atomic.Int64 // how often
}

// known is what discovery said. It is never changed.
type known struct {
	at       time.Time
	versions map[string][]string // of a group, the preferred one first
	kinds    map[schema.GroupVersion]map[string]Mapping
	failed   map[schema.GroupVersion]error
}

// patience is how old a missing answer has to be before it is asked again.
const patience = time.Second

// Mapping finds a kind in a given version. ErrNoKind tells that it is not
// served; another error that it could not be found out.
func (c *Cluster) Mapping(ctx context.Context, k schema.GroupVersionKind) (Mapping, error) {
	return c.kinds.find(ctx, k.GroupKind(), k.Version)
}

// Preferred finds a kind in the version that the server prefers among those
// that have it.
func (c *Cluster) Preferred(ctx context.Context, k schema.GroupKind) (Mapping, error) {
	return c.kinds.find(ctx, k, "")
}

// Forget drops what is known of the server's kinds, as after an apply of
// custom resource definitions.
func (c *Cluster) Forget() {
	c.kinds.forgotten.Add(1)
	c.kinds.now.Store(nil)
}

func (k *kinds) find(ctx context.Context, gk schema.GroupKind, version string) (Mapping, error) {
	if m, ok, err := k.recall(gk, version); ok {
		return m, err
	}
	if err := k.lock.take(ctx); err != nil {
		return Mapping{}, err
	}
	defer k.lock.free()
	if m, ok, err := k.recall(gk, version); ok { // somebody else asked meanwhile
		return m, err
	}
	before := k.forgotten.Load()
	now, err := k.ask.all(ctx)
	if err != nil {
		return Mapping{}, err
	}
	if _, err := now.find(gk, version); errors.Is(err, ErrNoKind) {
		// A kind that was defined just now is served before it is in the list
		// of all.
		if now, err = k.ask.group(ctx, now, gk.Group); err != nil {
			return Mapping{}, err
		}
	}
	if now.at = time.Now(); k.forgotten.Load() == before {
		k.now.Store(now)
	}
	return now.find(gk, version)
}

// recall answers from memory, if that is good enough.
func (k *kinds) recall(gk schema.GroupKind, version string) (m Mapping, ok bool, err error) {
	now := k.now.Load()
	if now == nil {
		return m, false, nil
	}
	m, err = now.find(gk, version)
	return m, err == nil || time.Since(now.at) < patience, err
}

func (n *known) find(gk schema.GroupKind, version string) (Mapping, error) {
	for _, v := range n.versions[gk.Group] {
		if m, ok := n.kinds[schema.GroupVersion{Group: gk.Group, Version: v}][gk.Kind]; ok && (version == "" || version == v) {
			return m, nil
		}
	}
	for gv, err := range n.failed {
		if gv.Group == gk.Group && (version == "" || version == gv.Version) {
			return Mapping{}, fmt.Errorf("%w: kinds of %s: %w", driver.ErrUnreachable, gv, err)
		}
	}
	name := gk.String()
	if version != "" {
		name = gk.WithVersion(version).String()
	}
	return Mapping{}, fmt.Errorf("%s: %w", name, ErrNoKind)
}

// fill makes mappings of a version's resources.
func fill(gv schema.GroupVersion, list *metav1.APIResourceList) map[string]Mapping {
	reports := map[string]bool{}
	for i := range list.APIResources {
		if name, of, _ := strings.Cut(list.APIResources[i].Name, "/"); of == "status" {
			reports[name] = true
		}
	}
	out := map[string]Mapping{}
	for i := range list.APIResources {
		r := &list.APIResources[i]
		if strings.Contains(r.Name, "/") {
			continue // a subresource
		}
		out[r.Kind] = Mapping{Kind: gv.WithKind(r.Kind), Resource: gv.WithResource(r.Name), Namespaced: r.Namespaced, Verbs: r.Verbs,
			Status: reports[r.Name]}
	}
	return out
}

// whole asks for all kinds anew; it is whole or an error.
func (k *kinds) whole(ctx context.Context) (*known, error) {
	if err := k.lock.take(ctx); err != nil {
		return nil, err
	}
	defer k.lock.free()
	now, err := k.ask.all(ctx)
	if err != nil {
		return nil, err
	}
	for gv, err := range now.failed {
		return nil, fmt.Errorf("%w: kinds of %s: %w", driver.ErrUnreachable, gv, err)
	}
	return now, nil
}

// Served gives all kinds that the server has, asked anew, in every version, and
// the versions whose kinds nobody could tell because the server that has them
// does not answer (an aggregated API).
func (c *Cluster) Served(ctx context.Context) (out []schema.GroupVersionKind, silent []schema.GroupVersion, err error) {
	if err := c.kinds.lock.take(ctx); err != nil {
		return nil, nil, err
	}
	defer c.kinds.lock.free()
	now, err := c.kinds.ask.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	silent = slices.SortedFunc(maps.Keys(now.failed), func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) })
	for _, kinds := range now.kinds {
		for _, m := range kinds {
			out = append(out, m.Kind)
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
	return out, silent, nil
}

// Kinds gives all kinds that the server has, asked anew, each in the version
// that it prefers. It is whole or an error.
func (c *Cluster) Kinds(ctx context.Context) ([]Mapping, error) {
	now, err := c.kinds.whole(ctx)
	if err != nil {
		return nil, err
	}
	var out []Mapping
	for _, group := range slices.Sorted(maps.Keys(now.versions)) {
		seen := map[string]bool{}
		for _, v := range now.versions[group] {
			kinds := now.kinds[schema.GroupVersion{Group: group, Version: v}]
			for _, kind := range slices.Sorted(maps.Keys(kinds)) {
				if !seen[kind] {
					seen[kind], out = true, append(out, kinds[kind])
				}
			}
		}
	}
	return out, nil
}
