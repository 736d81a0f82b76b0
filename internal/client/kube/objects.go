package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"trueup.dev/trueup/internal/driver"
)

// page is how many objects a list asks for at a time.
const page = 500

func (c *Cluster) in(m Mapping, namespace string) dynamic.ResourceInterface {
	if !m.Namespaced || namespace == "" {
		return c.dynamic.Resource(m.Resource)
	}
	return c.dynamic.Resource(m.Resource).Namespace(namespace)
}

func (c *Cluster) metaIn(m Mapping, namespace string) metadata.ResourceInterface {
	if !m.Namespaced || namespace == "" {
		return c.metadata.Resource(m.Resource)
	}
	return c.metadata.Resource(m.Resource).Namespace(namespace)
}

// Get reads one object; one that is not there is ErrNotFound.
func (c *Cluster) Get(ctx context.Context, m Mapping, namespace, name string) (*unstructured.Unstructured, error) {
	u, err := c.in(m, namespace).Get(ctx, name, metav1.GetOptions{})
	return u, c.unserved(read(err))
}

// unserved forgets the server's kinds when one seems to be gone, so that the
// next look-up asks anew.
func (c *Cluster) unserved(err error) error {
	if errors.Is(err, errForeign) {
		c.Forget()
	}
	return err
}

// List reads all objects of a kind, in one namespace or ("") in all, page by
// page. It is whole or an error. The resource version is that of the list.
func (c *Cluster) List(ctx context.Context, m Mapping, namespace string, opts metav1.ListOptions) (items []unstructured.Unstructured, version string, err error) {
	in := c.in(m, namespace)
	return whole(opts, func(o metav1.ListOptions) ([]unstructured.Unstructured, metav1.ListInterface, error) {
		l, err := in.List(ctx, o)
		if err != nil {
			return nil, nil, c.unserved(listed(m, err))
		}
		return l.Items, l, nil
	})
}

// ListMeta reads the metadata of all objects of a kind, as List does.
func (c *Cluster) ListMeta(ctx context.Context, m Mapping, namespace string) (items []metav1.PartialObjectMetadata, version string, err error) {
	return c.ListMetaBy(ctx, m, namespace, metav1.ListOptions{})
}

// ListMetaBy reads the metadata of those objects of a kind that the options
// select.
func (c *Cluster) ListMetaBy(ctx context.Context, m Mapping, namespace string, opts metav1.ListOptions) (items []metav1.PartialObjectMetadata, version string, err error) {
	in := c.metaIn(m, namespace)
	return whole(opts, func(o metav1.ListOptions) ([]metav1.PartialObjectMetadata, metav1.ListInterface, error) {
		l, err := in.List(ctx, o)
		if err != nil {
			return nil, nil, c.unserved(listed(m, err))
		}
		return l.Items, l, nil
	})
}

// ListSome reads the first objects of a kind, in one namespace or ("") in all.
// More is how many there are beyond them; 0 means that the list is whole.
func (c *Cluster) ListSome(ctx context.Context, m Mapping, namespace string, limit int) (items []unstructured.Unstructured, more int, err error) {
	l, err := c.in(m, namespace).List(ctx, metav1.ListOptions{Limit: int64(limit)})
	if err != nil {
		return nil, 0, c.unserved(listed(m, err))
	}
	if l.GetContinue() != "" {
		more = 1
		if n := l.GetRemainingItemCount(); n != nil {
			more = max(1, int(*n))
		}
	}
	return l.Items, more, nil
}

// EachMeta hands on the metadata of all objects of a kind, page by page. What
// was handed on counts only when there is no error: it is one when the server
// has forgotten the moment that the first page is of.
func (c *Cluster) EachMeta(ctx context.Context, m Mapping, namespace string, each func(*metav1.PartialObjectMetadata)) (version string, err error) {
	in := c.metaIn(m, namespace)
	for opts := (metav1.ListOptions{Limit: page}); ; {
		l, err := in.List(ctx, opts)
		if err != nil {
			return "", c.unserved(listed(m, err))
		}
		for i := range l.Items {
			each(&l.Items[i])
		}
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return l.GetResourceVersion(), nil
		}
	}
}

// whole reads a list page by page. When a server has forgotten the moment that
// the first page is of, the pages so far are worth nothing: the list is then
// read anew, in one piece.
func whole[T any](opts metav1.ListOptions, next func(metav1.ListOptions) ([]T, metav1.ListInterface, error)) (items []T, version string, err error) {
	for opts.Limit, opts.Continue = page, ""; ; {
		some, l, err := next(opts)
		if apierrors.IsResourceExpired(err) && opts.Continue != "" {
			items, opts.Limit, opts.Continue = nil, 0, ""
			continue
		}
		if err != nil {
			return nil, "", err
		}
		items = append(items, some...)
		if opts.Continue = l.GetContinue(); opts.Continue == "" {
			return items, l.GetResourceVersion(), nil
		}
	}
}

// listed says what an error of a list means. A list without objects is no
// error, so that "not found" is never said of them.
func listed(m Mapping, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("list %s: %w: %w: %w", m.Resource.GroupResource(), driver.ErrUnreachable, errForeign, err)
	}
	err = read(fmt.Errorf("list %s: %w", m.Resource.GroupResource(), err))
	var status apierrors.APIStatus
	if !errors.As(err, &status) && !errors.Is(err, driver.ErrUnreachable) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: the answer is no list: %w", driver.ErrUnreachable, err)
	}
	return err
}

// WatchMeta follows the metadata of a kind from a resource version on, with
// bookmarks. No time limit ends it; a connection over which nothing comes any
// more is given up within a minute.
func (c *Cluster) WatchMeta(ctx context.Context, m Mapping, namespace, version string) (watch.Interface, error) {
	w, err := c.metaIn(m, namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
	return w, c.unserved(read(err))
}

// ApplyOptions say how to apply.
type ApplyOptions struct {
	Manager string // the field manager
	Force   bool   // take fields over from other managers
	DryRun  bool   // go through admission, keep nothing
	// Quiet tells that the object holds secrets: errors don't repeat what the
	// server says of its values. Secrets are always quiet.
	Quiet bool
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
	return c.write(ctx, m, o.Quiet, o.DryRun, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.in(m, u.GetNamespace()).Apply(ctx, u.GetName(), u, opts)
	})
}

// Create makes an object and fails if it is there.
func (c *Cluster) Create(ctx context.Context, m Mapping, u *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	return c.write(ctx, m, false, false, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.in(m, u.GetNamespace()).Create(ctx, u, metav1.CreateOptions{FieldManager: manager})
	})
}

// Patch sends a patch of any type.
func (c *Cluster) Patch(ctx context.Context, m Mapping, namespace, name string, kind types.PatchType, body []byte, opts metav1.PatchOptions) (*unstructured.Unstructured, error) {
	return c.write(ctx, m, false, len(opts.DryRun) > 0, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.in(m, namespace).Patch(ctx, name, kind, body, opts)
	})
}

// write sends a write. A dry run keeps nothing, so that nothing is uncertain.
func (c *Cluster) write(ctx context.Context, m Mapping, quiet, dry bool, send func(context.Context) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	ctx, sent := sending(ctx)
	got, err := send(ctx)
	if quiet || m.Kind.Group == "" && m.Kind.Kind == "Secret" {
		err = hush(err)
	}
	if dry {
		return got, c.unserved(read(err))
	}
	return got, c.unserved(written(err, sent.Load()))
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
	_, err := c.write(ctx, m, false, o.DryRun, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return nil, c.in(m, namespace).Delete(ctx, name, opts)
	})
	var conflict *Conflict
	if errors.As(err, &conflict) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}
