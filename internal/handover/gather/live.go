package gather

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/plan"
)

// Live reads the objects of a cluster. A kind that the cluster does not have
// is none; one that can't be read is an error.
func (w What) Live(ctx context.Context, c *kube.Cluster) (*handover.Set, error) {
	var all []*handover.Object
	for _, group := range slices.Sorted(maps.Keys(w.Kinds)) {
		for _, kind := range w.Kinds[group] {
			m, err := c.Preferred(ctx, schema.GroupKind{Group: group, Kind: kind})
			if errors.Is(err, kube.ErrNoKind) {
				continue
			}
			if err != nil {
				return nil, err
			}
			items, _, err := c.List(ctx, m, "", metav1.ListOptions{LabelSelector: w.Selectors[kind]})
			if err != nil {
				return nil, err
			}
			for i := range items {
				o := handover.NewObject(&items[i], plan.Source{})
				if w.Keep == nil || w.Keep(o) {
					all = append(all, o)
				}
			}
		}
	}
	set := handover.NewSet(all)
	if w.Also == nil {
		return set, nil
	}
	for _, ref := range w.Also(set) {
		o, err := get(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		if o != nil && (w.Keep == nil || w.Keep(o)) {
			all = append(all, o)
		}
	}
	return handover.NewSet(all), nil
}

// get reads one object; nil is one that is not there.
func get(ctx context.Context, c *kube.Cluster, ref manifest.Ref) (*handover.Object, error) {
	m, err := c.Preferred(ctx, ref.GroupKind())
	if err != nil {
		return nil, err
	}
	u, err := c.Get(ctx, m, ref.Namespace, ref.Name)
	if errors.Is(err, kube.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return handover.NewObject(u, plan.Source{}), nil
}

// Manager is trueup's field manager.
const Manager = "trueup"

// Looker looks objects up in a cluster, many at a time.
type Looker struct {
	cluster *kube.Cluster
	kinds   map[schema.GroupKind]mapped
	spaces  map[space]listed
}

type mapped struct {
	kube.Mapping
	err error
}

type space struct {
	kind      schema.GroupKind
	namespace string
}

type listed struct {
	items map[string]*metav1.PartialObjectMetadata
	err   error
}

// NewLooker makes one.
func NewLooker(c *kube.Cluster) *Looker {
	return &Looker{cluster: c, kinds: map[schema.GroupKind]mapped{}, spaces: map[space]listed{}}
}

// Look tells what the cluster says of an object.
func (l *Looker) Look(ctx context.Context, ref manifest.Ref) handover.Live {
	m := l.mapping(ctx, ref)
	if errors.Is(m.err, kube.ErrNoKind) {
		return handover.Live{}
	}
	if m.err != nil {
		return handover.Live{Err: m.err}
	}
	found := l.list(ctx, m.Mapping, ref)
	if found.err != nil {
		return handover.Live{Err: found.err}
	}
	o := found.items[ref.Name]
	if o == nil {
		return handover.Live{}
	}
	live := handover.Live{There: true}
	for _, f := range o.ManagedFields {
		live.Ours = live.Ours || f.Manager == Manager && f.Subresource == ""
	}
	if a := o.Annotations; a["meta.helm.sh/release-name"] != "" {
		live.Release = a["meta.helm.sh/release-namespace"] + "/" + a["meta.helm.sh/release-name"]
	}
	return live
}

// Place corrects a reference that was made without a cluster: an object of the
// whole cluster has no namespace.
func (l *Looker) Place(ctx context.Context, ref manifest.Ref) manifest.Ref {
	if m := l.mapping(ctx, ref); m.err == nil && !m.Namespaced {
		ref.Namespace = ""
	}
	return ref
}

func (l *Looker) mapping(ctx context.Context, ref manifest.Ref) mapped {
	m, ok := l.kinds[ref.GroupKind()]
	if !ok {
		m.Mapping, m.err = l.cluster.Preferred(ctx, ref.GroupKind())
		l.kinds[ref.GroupKind()] = m
	}
	return m
}

func (l *Looker) list(ctx context.Context, m kube.Mapping, ref manifest.Ref) listed {
	key := space{ref.GroupKind(), ref.Namespace}
	found, ok := l.spaces[key]
	if !ok {
		found.items = map[string]*metav1.PartialObjectMetadata{}
		_, found.err = l.cluster.EachMeta(ctx, m, ref.Namespace, func(o *metav1.PartialObjectMetadata) {
			found.items[o.Name] = &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: o.Name, ManagedFields: o.ManagedFields, Annotations: o.Annotations}}
		})
		l.spaces[key] = found
	}
	return found
}

// Only keeps the definitions that were asked for, by namespace/name or name,
// and everything that is no definition.
func Only(set *handover.Set, wishes []string, definition func(*handover.Object) bool) (*handover.Set, error) {
	used := map[string]bool{}
	var out []*handover.Object
	for _, o := range set.All {
		keep := !definition(o)
		for _, w := range wishes {
			if w == o.Key() || w == o.GetName() || strings.EqualFold(w, o.GetKind()+"/"+o.Key()) {
				used[w], keep = true, keep || definition(o)
			}
		}
		if keep {
			out = append(out, o)
		}
	}
	for _, w := range wishes {
		if !used[w] {
			return nil, fmt.Errorf("--only %s: there is no such definition", w)
		}
	}
	return &handover.Set{All: out}, nil
}
