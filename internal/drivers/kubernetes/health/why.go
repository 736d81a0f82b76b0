package health

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// The bounds of an explanation.
const (
	maxExplained = 5 // objects
	maxPods      = 3 // of an object
	maxEvents    = 3 // of an object and what belongs to it
	explainAfter = 2 * time.Second
	explainEvery = 10 * time.Second
	explainTime  = 5 * time.Second
)

// reason is an explanation that was made a while ago.
type reason struct {
	first, asked time.Time
	of, text     string
}

// fresh gives the text where asking again is not worth the requests yet.
func (r reason) fresh(of string, now time.Time) (string, bool) {
	switch {
	case r.asked.IsZero() && now.Sub(r.first) < explainAfter:
		return "", true
	case !r.asked.IsZero() && now.Sub(r.asked) < explainEvery && r.of == of:
		return r.text, true
	case !r.asked.IsZero() && now.Sub(r.asked) < explainAfter:
		return "", true
	}
	return "", false
}

// explain gives the reasons of what is not ready. They take requests of their
// own, so what was found out a moment ago for the same objects is good enough,
// and what waits only for a moment needs none.
func (c *Checker) explain(ctx context.Context, cluster Cluster, subject string, bad []finding, secrets masks) string {
	var of strings.Builder
	for _, f := range bad {
		of.WriteString(string(f.Address()) + "\n")
	}
	now := time.Now()
	c.mu.Lock()
	r, known := c.reasons[subject]
	if !known {
		r.first = now
		c.reasons[subject] = r
	}
	c.mu.Unlock()
	end, bounded := ctx.Deadline()
	last := bad[0].State == Failed || bounded && end.Sub(now) < explainTime
	if text, ok := r.fresh(of.String(), now); ok && !last {
		return text
	}
	r.asked, r.of, r.text = now, of.String(), explain(ctx, cluster, bad, secrets, c.managers)
	c.mu.Lock()
	c.reasons[subject] = r
	c.mu.Unlock()
	return r.text
}

func (c *Checker) forget(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reasons, subject)
}

// explain asks the server why objects are not ready: their pods, and the
// warnings about them. What can't be read is left out.
func explain(ctx context.Context, cluster Cluster, bad []finding, secrets masks, managers []string) string {
	var texts []string
	warnings := map[string][]warning{}
	for i, f := range bad {
		if f.live == nil {
			continue
		}
		if i == maxExplained {
			break
		}
		family := []*unstructured.Unstructured{f.live}
		for _, p := range podsOf(ctx, cluster, f.live, &family) {
			texts = append(texts, fmt.Sprintf("pod %s: %s", p.GetName(), secrets.clip(podTrouble(&p), maxText)))
		}
		ns := f.live.GetNamespace()
		if _, ok := warnings[ns]; !ok && ns != "" {
			warnings[ns] = warningsIn(ctx, cluster, ns)
		}
		for _, w := range about(warnings[ns], family, changed(f.live, managers)) {
			if strings.Contains(f.Why, clean(w.message, maxRaw)) {
				continue // it says so already
			}
			texts = append(texts, fmt.Sprintf("%s %s: %s", strings.ToLower(w.kind), w.name, secrets.clip(joined(w.reason, w.message), maxText)))
		}
	}
	return clean(strings.Join(slices.Compact(texts), "; "), maxDetail)
}

var (
	podKind        = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	eventKind      = schema.GroupVersionKind{Version: "v1", Kind: "Event"}
	replicaSetKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}
)

// podsOf gives some pods of a workload that are not ready: of a Deployment
// those of its newest ReplicaSet. The family gets what belongs to the object.
func podsOf(ctx context.Context, cluster Cluster, u *unstructured.Unstructured, family *[]*unstructured.Unstructured) []unstructured.Unstructured {
	selector := selectorOf(u)
	if selector == "" || u.GetNamespace() == "" {
		return nil
	}
	owner := u
	if u.GetKind() == "Deployment" && u.GroupVersionKind().Group == "apps" {
		if owner = newest(ownedBy(list(ctx, cluster, replicaSetKind, u.GetNamespace(), selector), u)); owner == nil {
			return nil
		}
		*family = append(*family, owner)
	}
	var out []unstructured.Unstructured
	for _, p := range ownedBy(list(ctx, cluster, podKind, u.GetNamespace(), selector), owner) {
		if v, _ := pod(&p, Facts{}); v.State == Ready || p.GetDeletionTimestamp() != nil {
			continue
		}
		*family = append(*family, &p)
		if len(out) < maxPods {
			out = append(out, p)
		}
	}
	return out
}

func selectorOf(u *unstructured.Unstructured) string {
	m, found, _ := unstructured.NestedMap(u.Object, "spec", "selector")
	if !found || len(m) == 0 {
		return ""
	}
	var ls metav1.LabelSelector
	if u.GetKind() == "ReplicationController" {
		m = map[string]any{"matchLabels": m}
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &ls); err != nil {
		return ""
	}
	s, err := metav1.LabelSelectorAsSelector(&ls)
	if err != nil || s.Empty() {
		return ""
	}
	return s.String()
}

func list(ctx context.Context, cluster Cluster, kind schema.GroupVersionKind, namespace, selector string) []unstructured.Unstructured {
	m, err := cluster.Mapping(ctx, kind)
	if err != nil {
		return nil
	}
	items, _, err := cluster.List(ctx, m, namespace, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil
	}
	return items
}

func ownedBy(items []unstructured.Unstructured, owner *unstructured.Unstructured) []unstructured.Unstructured {
	return slices.DeleteFunc(items, func(u unstructured.Unstructured) bool {
		return !slices.ContainsFunc(u.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner.GetUID() })
	})
}

// newest gives the ReplicaSet of the latest revision.
func newest(items []unstructured.Unstructured) *unstructured.Unstructured {
	revision := func(u *unstructured.Unstructured) string {
		return u.GetAnnotations()["deployment.kubernetes.io/revision"]
	}
	var best *unstructured.Unstructured
	for i := range items {
		a := &items[i]
		if best == nil || cmp.Or(cmp.Compare(len(revision(a)), len(revision(best))), cmp.Compare(revision(a), revision(best))) > 0 {
			best = a
		}
	}
	return best
}

// warning is an event of the type Warning.
type warning struct {
	uid             types.UID
	kind, name      string
	reason, message string
	at              time.Time
}

func warningsIn(ctx context.Context, cluster Cluster, namespace string) []warning {
	m, err := cluster.Mapping(ctx, eventKind)
	if err != nil {
		return nil
	}
	items, _, err := cluster.List(ctx, m, namespace, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil {
		return nil
	}
	out := make([]warning, 0, len(items))
	for i := range items {
		u := &items[i]
		w := warning{uid: types.UID(str(u, "involvedObject", "uid")), kind: str(u, "involvedObject", "kind"), name: str(u, "involvedObject", "name"),
			reason: str(u, "reason"), message: str(u, "message"), at: u.GetCreationTimestamp().Time}
		for _, path := range [][]string{{"lastTimestamp"}, {"eventTime"}, {"series", "lastObservedTime"}} {
			if t, err := time.Parse(time.RFC3339, str(u, path...)); err == nil && t.After(w.at) {
				w.at = t
			}
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b warning) int { return b.at.Compare(a.at) })
	return out
}

// about picks the newest warnings about objects since they changed, one for
// each reason.
func about(all []warning, family []*unstructured.Unstructured, since time.Time) []warning {
	var out []warning
	for _, w := range all {
		mine := slices.ContainsFunc(family, func(u *unstructured.Unstructured) bool { return u.GetUID() == w.uid })
		said := slices.ContainsFunc(out, func(o warning) bool { return o.reason == w.reason && o.kind == w.kind })
		if mine && !said && !w.at.Before(since) && len(out) < maxEvents {
			out = append(out, w)
		}
	}
	return out
}
