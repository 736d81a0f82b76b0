package kube

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

// page is how many objects a list asks for at a time.
const page = 500

func (c *Cluster) in(m Mapping, namespace string) dynamic.ResourceInterface {
	if !m.Namespaced || namespace == "" {
		return c.dynamic.Resource(m.Resource)
	}
	return c.dynamic.Resource(m.Resource).Namespace(namespace)
}

func metaIn(meta metadata.Interface, m Mapping, namespace string) metadata.ResourceInterface {
	if !m.Namespaced || namespace == "" {
		return meta.Resource(m.Resource)
	}
	return meta.Resource(m.Resource).Namespace(namespace)
}

// Get reads one object; one that is not there is ErrNotFound.
func (c *Cluster) Get(ctx context.Context, m Mapping, namespace, name string) (*unstructured.Unstructured, error) {
	u, err := c.in(m, namespace).Get(ctx, name, metav1.GetOptions{})
	return u, wrap(err)
}

// List reads all objects of a kind, in one namespace or ("") in all, page by
// page. It is whole or an error. The resource version is that of the list.
func (c *Cluster) List(ctx context.Context, m Mapping, namespace string, opts metav1.ListOptions) (items []unstructured.Unstructured, version string, err error) {
	opts.Limit = page
	for {
		l, err := c.in(m, namespace).List(ctx, opts)
		if err != nil {
			return nil, "", wrap(fmt.Errorf("list %s: %w", m.Resource.GroupResource(), err))
		}
		items = append(items, l.Items...)
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return items, l.GetResourceVersion(), nil
		}
	}
}

// ListSome reads the first objects of a kind, in one namespace or ("") in all.
// More is how many there are beyond them; 0 means that the list is whole.
func (c *Cluster) ListSome(ctx context.Context, m Mapping, namespace string, limit int) (items []unstructured.Unstructured, more int, err error) {
	l, err := c.in(m, namespace).List(ctx, metav1.ListOptions{Limit: int64(limit)})
	if err != nil {
		return nil, 0, wrap(fmt.Errorf("list %s: %w", m.Resource.GroupResource(), err))
	}
	if l.GetContinue() != "" {
		more = 1
		if n := l.GetRemainingItemCount(); n != nil {
			more = max(1, int(*n))
		}
	}
	return l.Items, more, nil
}

// ListMeta reads the metadata of all objects of a kind, as List does.
func (c *Cluster) ListMeta(ctx context.Context, m Mapping, namespace string) (items []metav1.PartialObjectMetadata, version string, err error) {
	version, err = c.EachMeta(ctx, m, namespace, func(o *metav1.PartialObjectMetadata) { items = append(items, *o) })
	if err != nil {
		return nil, "", err
	}
	return items, version, nil
}

// EachMeta hands on the metadata of all objects of a kind, page by page. What
// was handed on counts only when there is no error.
func (c *Cluster) EachMeta(ctx context.Context, m Mapping, namespace string, each func(*metav1.PartialObjectMetadata)) (version string, err error) {
	opts := metav1.ListOptions{Limit: page}
	for {
		l, err := metaIn(c.metadata, m, namespace).List(ctx, opts)
		if err != nil {
			return "", wrap(fmt.Errorf("list metadata of %s: %w", m.Resource.GroupResource(), err))
		}
		for i := range l.Items {
			each(&l.Items[i])
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return l.GetResourceVersion(), nil
		}
	}
}

// WatchMeta follows the metadata of a kind from a resource version on, with
// bookmarks. No timeout ends it: the caller has to see to a server that falls
// silent.
func (c *Cluster) WatchMeta(ctx context.Context, m Mapping, namespace, version string) (watch.Interface, error) {
	w, err := metaIn(c.watches, m, namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
	return w, wrap(err)
}

// ApplyOptions say how to apply.
type ApplyOptions struct {
	Manager string // the field manager
	Force   bool   // take fields over from other managers
	DryRun  bool   // go through admission, keep nothing
}

// Apply is a server-side apply. The answer is the object as it is (or, in a
// dry run, would be) afterwards. Conflicts with other managers are a *Conflict.
//
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
func (c *Cluster) Apply(ctx context.Context, m Mapping, u *unstructured.Unstructured, o ApplyOptions) (*unstructured.Unstructured, error) {
	opts := metav1.ApplyOptions{FieldManager: o.Manager, Force: o.Force}
	if o.DryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	got, err := c.in(m, u.GetNamespace()).Apply(ctx, u.GetName(), u, opts)
	return got, wrap(err)
}

// Create makes an object and fails if it is there.
func (c *Cluster) Create(ctx context.Context, m Mapping, u *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	got, err := c.in(m, u.GetNamespace()).Create(ctx, u, metav1.CreateOptions{FieldManager: manager})
	return got, wrap(err)
}

// Patch sends a patch of any type.
func (c *Cluster) Patch(ctx context.Context, m Mapping, namespace, name string, kind types.PatchType, body []byte, opts metav1.PatchOptions) (*unstructured.Unstructured, error) {
	got, err := c.in(m, namespace).Patch(ctx, name, kind, body, opts)
	return got, wrap(err)
}

// DeleteOptions say what to delete and how.
type DeleteOptions struct {
	// UID and ResourceVersion, where given, must still be those of the object.
	UID             types.UID
	ResourceVersion string
	// Propagation is Foreground, Background or Orphan; "" is the server's own.
	Propagation metav1.DeletionPropagation
	DryRun      bool
}

// Delete asks for the deletion of an object. One that is gone, or that is
// another one by now, is ErrNotFound or ErrMoved; finalizers may keep it for
// longer.
func (c *Cluster) Delete(ctx context.Context, m Mapping, namespace, name string, o DeleteOptions) error {
	opts := metav1.DeleteOptions{}
	if o.UID != "" || o.ResourceVersion != "" {
		opts.Preconditions = &metav1.Preconditions{}
		if o.UID != "" {
			opts.Preconditions.UID = &o.UID
		}
		if o.ResourceVersion != "" {
			opts.Preconditions.ResourceVersion = &o.ResourceVersion
		}
	}
	if o.Propagation != "" {
		opts.PropagationPolicy = &o.Propagation
	}
	if o.DryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	err := wrap(c.in(m, namespace).Delete(ctx, name, opts))
	var conflict *Conflict
	if errors.As(err, &conflict) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}
