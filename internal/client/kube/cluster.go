// Package kube talks to Kubernetes API servers: connections from kubeconfigs
// and from inside a cluster, discovery, server-side apply, metadata lists and
// watches, impersonation, and what the server's errors mean.
package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Cluster is a connection to one API server. It is safe for concurrent use.
type Cluster struct {
	config   *rest.Config
	dynamic  dynamic.Interface
	metadata metadata.Interface
	watches  metadata.Interface // for requests that go on for long
	kinds    *kinds             // shared by all that act on this server
	uid      *once
}

// New makes a cluster of a client configuration (Config makes them). Nothing
// is asked yet.
func New(config *rest.Config) (*Cluster, error) {
	c := &Cluster{config: config, uid: &once{}}
	if err := c.clients(); err != nil {
		return nil, err
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	c.kinds = &kinds{ask: d}
	return c, nil
}

func (c *Cluster) clients() (err error) {
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return err
	}
	meta := metadata.ConfigFor(c.config)
	if c.metadata, err = metadata.NewForConfig(meta); err != nil {
		return err
	}
	meta = rest.CopyConfig(meta)
	meta.Timeout = 0 // it would end every watch
	c.watches, err = metadata.NewForConfig(meta)
	return err
}

// As gives the same cluster for somebody else: every request impersonates
// them. What is known of the server is shared.
func (c *Cluster) As(who rest.ImpersonationConfig) (*Cluster, error) {
	other := &Cluster{config: rest.CopyConfig(c.config), kinds: c.kinds, uid: c.uid}
	other.config.Impersonate = who
	if err := other.clients(); err != nil {
		return nil, err
	}
	return other, nil
}

// Rest gives the client configuration, for libraries that bring their own
// clients (Helm). It must not be changed.
func (c *Cluster) Rest() *rest.Config { return c.config }

// Discovery gives a discovery client for libraries that want one.
func (c *Cluster) Discovery() (discovery.DiscoveryInterface, error) {
	return discovery.NewDiscoveryClientForConfig(c.config)
}

// once remembers one answer; an error is not remembered.
type once struct {
	mu    sync.Mutex
	value string
}

func (o *once) get(ask func() (string, error)) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
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
	return c.uid.get(func() (string, error) { return c.askUID(ctx) })
}

// Same asks the server once more which cluster it is, and refuses one that has
// become another.
func (c *Cluster) Same(ctx context.Context) error {
	was, err := c.UID(ctx)
	if err != nil {
		return err
	}
	now, err := c.askUID(ctx)
	if err == nil && now != was {
		err = fmt.Errorf("the API server is that of another cluster now: %s instead of %s", now, was)
	}
	return err
}

func (c *Cluster) askUID(ctx context.Context) (string, error) {
	ns, err := c.metadata.Resource(namespaces).Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil {
		return "", wrap(fmt.Errorf("which cluster it is, by the UID of the namespace kube-system: %w", err))
	}
	if ns.UID == "" {
		return "", fmt.Errorf("the namespace kube-system has no UID")
	}
	return string(ns.UID), nil
}

// Version gives the server's version ("v1.37.2").
func (c *Cluster) Version(ctx context.Context) (string, error) {
	d, err := c.Discovery()
	if err != nil {
		return "", err
	}
	v, err := discovery.ToDiscoveryInterfaceWithContext(d).ServerVersionWithContext(ctx)
	if err != nil {
		return "", wrap(err)
	}
	return v.GitVersion, nil
}

// DefaultTimeout bounds a single request that is no watch.
const DefaultTimeout = 30 * time.Second
