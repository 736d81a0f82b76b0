// Package kube talks to Kubernetes API servers: connections from kubeconfigs
// and from inside a cluster, discovery, server-side apply, metadata lists and
// watches, impersonation, and what the server's errors mean.
//
// A request has a time limit, but for watches. Nothing is tried again that may
// have been done: a server that is busy (429) is asked again when it says so,
// within that limit, and reads whose connection broke are.
package kube

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/driver"
)

// DefaultTimeout bounds a single request that is no watch.
const DefaultTimeout = 30 * time.Second

// Cluster is a connection to one API server. It is safe for concurrent use.
type Cluster struct {
	config   *rest.Config // its transport is the connection
	dynamic  dynamic.Interface
	metadata metadata.Interface
	kinds    *kinds // shared by all that act on this server
	uid      *once
	close    func()
}

// New makes a cluster of a client configuration (Config makes them). Nothing
// is asked yet.
func New(config *rest.Config) (*Cluster, error) {
	shared, closing, err := connect(config)
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: shared, uid: &once{lock: newLock()}, close: closing}
	if err := c.clients(); err != nil {
		return nil, err
	}
	ask, err := discovery.NewDiscoveryClientForConfig(shared)
	if err != nil {
		return nil, err
	}
	c.kinds = &kinds{ask: asker{ask}, lock: newLock()}
	return c, nil
}

func (c *Cluster) clients() (err error) {
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return err
	}
	c.metadata, err = metadata.NewForConfig(metadata.ConfigFor(c.config))
	return err
}

// As gives the same cluster for somebody else: every request impersonates
// them, on the same connection. What is known of the server is shared.
func (c *Cluster) As(who rest.ImpersonationConfig) (*Cluster, error) {
	other := &Cluster{config: rest.CopyConfig(c.config), kinds: c.kinds, uid: c.uid, close: c.close}
	other.config.Impersonate = who
	if err := other.clients(); err != nil {
		return nil, err
	}
	return other, nil
}

// Close ends the connections, also those of all that As gave, and with them
// requests and watches that are under way.
func (c *Cluster) Close() { c.close() }

// Rest gives the client configuration, for libraries that bring their own
// clients (Helm): they share the connection and its time limits. It must not
// be changed, and its TLS settings are part of the transport.
func (c *Cluster) Rest() *rest.Config { return c.config }

// lock is a mutex that is waited for no longer than a context lasts.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) free() { <-l }

// once remembers one answer; an error is not remembered.
type once struct {
	lock  lock
	value string
}

func (o *once) get(ctx context.Context, ask func() (string, error)) (string, error) {
	if err := o.lock.take(ctx); err != nil {
		return "", err
	}
	defer o.lock.free()
	if o.value != "" {
		return o.value, nil
	}
	v, err := ask()
	if err == nil {
		o.value = v
	}
	return v, err
}

// UID tells which cluster this is: the UID of the namespace kube-system, which
// no two clusters share and no upgrade changes. The first answer is kept; ask
// with Same whether it still holds.
func (c *Cluster) UID(ctx context.Context) (string, error) {
	return c.uid.get(ctx, func() (string, error) { return c.askUID(ctx) })
}

// Same asks the server once more which cluster it is, and refuses one that has
// become another: to go on with it takes a new connection, as for one that can't
// be reached.
func (c *Cluster) Same(ctx context.Context) error {
	was, err := c.UID(ctx)
	if err != nil {
		return err
	}
	now, err := c.askUID(ctx)
	if err == nil && now != was {
		err = fmt.Errorf("%w: the API server is that of another cluster now: %s instead of %s", driver.ErrUnreachable, now, was)
	}
	return err
}

func (c *Cluster) askUID(ctx context.Context) (string, error) {
	ns, err := c.metadata.Resource(namespaces).Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil {
		return "", read(fmt.Errorf("which cluster it is, by the UID of the namespace kube-system: %w", err))
	}
	if ns.UID == "" {
		return "", fmt.Errorf("the namespace kube-system has no UID")
	}
	return string(ns.UID), nil
}

// Version gives the server's version ("v1.37.2").
func (c *Cluster) Version(ctx context.Context) (string, error) {
	v, err := c.kinds.ask.ServerVersionWithContext(ctx)
	if err != nil {
		return "", read(err)
	}
	return v.GitVersion, nil
}
