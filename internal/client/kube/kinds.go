package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
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
// for again, but not more often than forgetting allows.
type kinds struct {
	ask discovery.DiscoveryInterface

	mu      sync.Mutex
	known   map[schema.GroupVersion]*version
	groups  map[string][]string // versions of a group, the preferred one first
	grouped time.Time
}

type version struct {
	kinds map[string]Mapping
	at    time.Time
}

// patience is how old a missing answer has to be before it is asked again.
const patience = time.Second

// Mapping finds a kind in a given version. ErrNoKind tells that it is not
// served; another error that it could not be found out.
func (c *Cluster) Mapping(ctx context.Context, k schema.GroupVersionKind) (Mapping, error) {
	v, err := c.kinds.version(ctx, k.GroupVersion(), k.Kind)
	if err != nil {
		return Mapping{}, err
	}
	m, ok := v.kinds[k.Kind]
	if !ok {
		return Mapping{}, fmt.Errorf("%s: %w", k, ErrNoKind)
	}
	return m, nil
}

// Preferred finds a kind in the version that the server prefers among those
// that have it.
func (c *Cluster) Preferred(ctx context.Context, k schema.GroupKind) (Mapping, error) {
	for _, fresh := range []bool{false, true} {
		versions, err := c.kinds.versions(ctx, k.Group, fresh)
		if err != nil {
			return Mapping{}, err
		}
		for _, v := range versions {
			m, err := c.Mapping(ctx, k.WithVersion(v))
			if err == nil || !errors.Is(err, ErrNoKind) {
				return m, err
			}
		}
	}
	return Mapping{}, fmt.Errorf("%s: %w", k, ErrNoKind)
}

// Forget drops what is known of the server's kinds, as after an apply of
// custom resource definitions.
func (c *Cluster) Forget() {
	c.kinds.mu.Lock()
	defer c.kinds.mu.Unlock()
	c.kinds.known, c.kinds.groups = nil, nil
}

func (k *kinds) version(ctx context.Context, gv schema.GroupVersion, kind string) (*version, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := k.known[gv]; v != nil {
		if _, ok := v.kinds[kind]; ok || time.Since(v.at) < patience {
			return v, nil
		}
	}
	list, err := discovery.ToDiscoveryInterfaceWithContext(k.ask).ServerResourcesForGroupVersionWithContext(ctx, gv.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, wrap(fmt.Errorf("kinds of %s: %w", gv, err))
	}
	v := &version{kinds: map[string]Mapping{}, at: time.Now()}
	if err == nil {
		v.fill(gv, list)
	}
	if k.known == nil {
		k.known = map[schema.GroupVersion]*version{}
	}
	k.known[gv] = v
	return v, nil
}

func (v *version) fill(gv schema.GroupVersion, list *metav1.APIResourceList) {
	reports := map[string]bool{}
	for i := range list.APIResources {
		if name, of, _ := strings.Cut(list.APIResources[i].Name, "/"); of == "status" {
			reports[name] = true
		}
	}
	for i := range list.APIResources {
		r := &list.APIResources[i]
		if strings.Contains(r.Name, "/") {
			continue // a subresource
		}
		v.kinds[r.Kind] = Mapping{Kind: gv.WithKind(r.Kind), Resource: gv.WithResource(r.Name), Namespaced: r.Namespaced, Verbs: r.Verbs,
			Status: reports[r.Name]}
	}
}

func (k *kinds) versions(ctx context.Context, group string, fresh bool) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.groups != nil && (!fresh || time.Since(k.grouped) < patience) {
		return k.groups[group], nil
	}
	all, err := discovery.ToDiscoveryInterfaceWithContext(k.ask).ServerGroupsWithContext(ctx)
	if err != nil {
		return nil, wrap(fmt.Errorf("API groups: %w", err))
	}
	k.groups, k.grouped = map[string][]string{}, time.Now()
	for _, g := range all.Groups {
		list := []string{g.PreferredVersion.Version}
		for _, v := range g.Versions {
			if v.Version != g.PreferredVersion.Version {
				list = append(list, v.Version)
			}
		}
		k.groups[g.Name] = list
	}
	return k.groups[group], nil
}
