package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/stage"
	"trueup.dev/trueup/internal/plan"
)

// removal is what a plan knows of what it removes.
type removal struct {
	seen  map[manifest.Ref]*object  // what the plan is about
	along map[plan.Address][]string // what goes with namespaces and definitions
}

// unseen stands for contents that could not be told when the plan was made.
const unseen = "*"

// holdContents holds the removal of a namespace or a definition that would take
// objects along which the plan does not delete.
func (s *set) holdContents(ctx context.Context, c *plan.Change, o *object, p *plan.Plan) error {
	found, err := s.contents(ctx, o, deletions(p))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a := o.ref.Address()
	if err != nil {
		s.along[a] = []string{unseen}
		stage.Hold(c, fmt.Sprintf("it can't be told what would be deleted with it: %v", err))
		return nil
	}
	if len(found) > 0 {
		stage.Hold(c, "its deletion takes along what this plan does not delete by itself: "+named(found))
	}
	for _, r := range found {
		s.along[a] = append(s.along[a], string(r.Address()))
	}
	return nil
}

// checkContents looks once more, right before a namespace or a definition is
// deleted: what came into it after the plan, nobody has seen.
func (s *set) checkContents(ctx context.Context, o *object) error {
	seen := s.planned.Along[o.ref.Address()]
	if slices.Contains(seen, unseen) {
		return nil
	}
	found, err := s.contents(ctx, o, s.run.deletes)
	if err != nil {
		return fmt.Errorf("it can't be told what would be deleted with it: %w", err)
	}
	found = slices.DeleteFunc(found, func(r manifest.Ref) bool { return slices.Contains(seen, string(r.Address())) })
	if len(found) > 0 {
		return fmt.Errorf("%w: its deletion would take along what was not there when it was planned: %s", driver.ErrStale, named(found))
	}
	return nil
}

// deletions are the objects that a plan deletes.
func deletions(p *plan.Plan) map[plan.Address]bool {
	goes := map[plan.Address]bool{}
	for i := range p.Changes {
		goes[p.Changes[i].Address] = p.Changes[i].Action == plan.Delete
	}
	return goes
}

// contents gives what goes along with a namespace or a definition, but for what
// is deleted anyway.
func (s *set) contents(ctx context.Context, o *object, goes map[plan.Address]bool) ([]manifest.Ref, error) {
	if o.live.GetDeletionTimestamp() != nil {
		return nil, nil // it is under way
	}
	var find func(context.Context, *object) ([]manifest.Ref, error)
	switch k := o.ref.GroupKind(); {
	case stage.IsNamespace(k):
		find = s.inNamespace
	case stage.IsDefinition(k):
		find = s.ofDefinition
	default:
		return nil, nil
	}
	found, err := find(ctx, o)
	return slices.DeleteFunc(found, func(r manifest.Ref) bool { return goes[r.Address()] }), err
}

// named names some of many.
func named(refs []manifest.Ref) string {
	const most = 5
	slices.SortFunc(refs, manifest.Ref.Compare)
	var out []string
	for i, r := range refs {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(refs)-most))
			break
		}
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}

// passing are kinds whose objects come and go by themselves.
var passing = map[schema.GroupKind]bool{
	{Kind: "Event"}: true, {Group: "events.k8s.io", Kind: "Event"}: true, {Kind: "Endpoints"}: true,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true, {Group: "coordination.k8s.io", Kind: "Lease"}: true,
	{Group: "metrics.k8s.io", Kind: "PodMetrics"}: true,
}

// inNamespace lists what lies in a namespace and is no mere part of something
// else there.
func (s *set) inNamespace(ctx context.Context, o *object) ([]manifest.Ref, error) {
	kinds, err := s.cluster.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	kinds = slices.DeleteFunc(kinds, func(m kube.Mapping) bool {
		return !m.Namespaced || passing[m.Kind.GroupKind()] || !slices.Contains(m.Verbs, "list") || !slices.Contains(m.Verbs, "delete")
	})
	lists := make([][]metav1.PartialObjectMetadata, len(kinds))
	err = each(ctx, kinds, func(ctx context.Context, i int) (err error) {
		lists[i], _, err = s.cluster.ListMeta(ctx, kinds[i], o.ref.Name)
		return err
	})
	inside := map[types.UID]bool{}
	for _, items := range lists {
		for i := range items {
			inside[items[i].UID] = true
		}
	}
	var out []manifest.Ref
	for i, items := range lists {
		out = append(out, s.others(kinds[i], items, inside)...)
	}
	return out, err
}

// ofDefinition lists the objects of a definition's kind.
func (s *set) ofDefinition(ctx context.Context, o *object) ([]manifest.Ref, error) {
	var out []manifest.Ref
	for k := range definitions([]manifest.Object{{Unstructured: o.live}}) {
		m, err := s.cluster.Preferred(ctx, k)
		if err != nil {
			return nil, err
		}
		items, _, err := s.cluster.ListMeta(ctx, m, "")
		if err != nil {
			return nil, err
		}
		// Whoever made them can't make them again without their kind.
		out = append(out, s.others(m, items, nil)...)
	}
	return out, nil
}

// others leaves out what every namespace has, and what is going; and parts of
// objects inside, which were looked at themselves. In an apply those may be gone
// already, and their parts about to follow.
func (s *set) others(m kube.Mapping, items []metav1.PartialObjectMetadata, inside map[types.UID]bool) []manifest.Ref {
	var out []manifest.Ref
	for i := range items {
		it := &items[i]
		r := manifest.Ref{Group: m.Kind.Group, Kind: m.Kind.Kind, Namespace: it.Namespace, Name: it.Name}
		given := r.Group == "" && (r.Kind == "ServiceAccount" && r.Name == "default" || r.Kind == "ConfigMap" && r.Name == "kube-root-ca.crt")
		if given || slices.ContainsFunc(it.OwnerReferences, func(r metav1.OwnerReference) bool { return inside[r.UID] || inside != nil && s.run != nil }) || it.DeletionTimestamp != nil || it.Annotations[hookOf] == s.in.Target {
			continue
		}
		out = append(out, r)
	}
	return out
}
