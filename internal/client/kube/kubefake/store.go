package kubefake

import (
	"cmp"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// store has the objects and what happened to them. Objects in it are never
// changed, only replaced.
type store struct {
	objects map[schema.GroupResource]map[string]*unstructured.Unstructured // by namespace/name
	version int64
	oldest  int64 // the first version that a watch can begin behind
	events  []event
	news    chan struct{} // closed at the next event
	pages   map[string]*pages
	cut     chan struct{} // closed to end the watches
}

type event struct {
	version int64
	kind    watch.EventType
	group   schema.GroupResource
	object  *unstructured.Unstructured
	before  *unstructured.Unstructured
}

// pages is the rest of a list that is read page by page.
type pages struct {
	rest    []*unstructured.Unstructured
	version int64
}

func newStore() *store {
	return &store{objects: map[schema.GroupResource]map[string]*unstructured.Unstructured{}, version: 100, oldest: 100,
		news: make(chan struct{}), pages: map[string]*pages{}, cut: make(chan struct{})}
}

func key(namespace, name string) string { return namespace + "/" + name }

func (st *store) find(g schema.GroupResource, namespace, name string) *unstructured.Unstructured {
	return st.objects[g][key(namespace, name)]
}

// all gives a kind's objects in one namespace, or ("") in all, in order.
func (st *store) all(g schema.GroupResource, namespace string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, u := range st.objects[g] {
		if namespace == "" || u.GetNamespace() == namespace {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}

// put stores an object, under the next resource version.
func (st *store) put(g schema.GroupResource, u *unstructured.Unstructured) {
	st.version++
	u.SetResourceVersion(strconv.FormatInt(st.version, 10))
	if st.objects[g] == nil {
		st.objects[g] = map[string]*unstructured.Unstructured{}
	}
	k := key(u.GetNamespace(), u.GetName())
	before := st.objects[g][k]
	st.objects[g][k] = u
	kind := watch.Modified
	if before == nil {
		kind = watch.Added
	}
	st.tell(event{version: st.version, kind: kind, group: g, object: u, before: before})
}

// drop removes an object.
func (st *store) drop(g schema.GroupResource, u *unstructured.Unstructured) {
	st.version++
	delete(st.objects[g], key(u.GetNamespace(), u.GetName()))
	last := u.DeepCopy()
	last.SetResourceVersion(strconv.FormatInt(st.version, 10))
	st.tell(event{version: st.version, kind: watch.Deleted, group: g, object: last, before: u})
}

func (st *store) tell(e event) {
	st.events = append(st.events, e)
	close(st.news)
	st.news = make(chan struct{})
}
