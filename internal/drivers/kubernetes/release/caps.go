package release

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// capabilities are what the server has, remembered for a while.
type capabilities struct {
	mu sync.Mutex
	at time.Time
	is *render.Capabilities
}

// Capabilities tell templates which server this is. Helm's defaults are those
// of the library, not of the server.
func (c *Client) Capabilities(ctx context.Context) (render.Capabilities, error) {
	c.caps.mu.Lock()
	defer c.caps.mu.Unlock()
	if c.caps.is != nil && time.Since(c.caps.at) < capsFor {
		return *c.caps.is, nil
	}
	is, err := c.askCapabilities(ctx)
	if err != nil {
		return render.Capabilities{}, fmt.Errorf("what the server has: %w", kube.Explain(err))
	}
	c.caps.is, c.caps.at = is, time.Now()
	return *is, nil
}

func (c *Client) forgetCapabilities() {
	c.caps.mu.Lock()
	defer c.caps.mu.Unlock()
	c.caps.is = nil
	c.cluster.Forget()
}

func (c *Client) askCapabilities(ctx context.Context) (*render.Capabilities, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	config := rest.CopyConfig(c.cluster.Rest())
	config.Wrap(guarding(ctx, &atomic.Bool{}))
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	v, err := d.ServerVersion()
	if err != nil {
		return nil, err
	}
	groups, resources, err := d.ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	var versions []string
	for _, g := range groups {
		for _, gv := range g.Versions {
			versions = append(versions, gv.GroupVersion)
		}
	}
	for _, list := range resources {
		for _, r := range list.APIResources {
			versions = append(versions, path.Join(list.GroupVersion, r.Kind))
		}
	}
	slices.Sort(versions)
	return &render.Capabilities{KubeVersion: v.GitVersion, APIVersions: slices.Compact(versions)}, nil
}
