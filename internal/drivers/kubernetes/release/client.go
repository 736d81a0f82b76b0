// Package release runs Helm charts as releases: with Helm's own storage, hooks,
// tests and history, so that the helm program and trueup can take turns.
package release

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"trueup.dev/trueup/internal/client/kube"
)

// Manager is the field manager that Helm writes as. It is the helm program's
// own, so that either of the two can go on where the other stopped.
const Manager = "helm"

func init() {
	// Helm takes it from a variable, and from the program's name without one.
	helmkube.ManagedFieldsManager = Manager
}

// Client carries out Helm's actions in one cluster.
type Client struct {
	cluster *kube.Cluster
}

// New makes a client for a cluster, as whoever the cluster's requests are made.
func New(c *kube.Cluster) *Client { return &Client{cluster: c} }

// act is one action. Helm's configuration is never used for a second one: a
// dry run leaves fakes behind in it.
type act struct {
	config *action.Configuration
	wait   []helmkube.WaitOption
	wrote  *atomic.Bool
	end    context.CancelFunc
}

// workers is how many objects are judged at a time while they are waited for,
// as in the helm program.
const workers = 8

// act prepares an action on a release. Every request of it ends with the
// context, whatever Helm does with contexts of its own.
func (c *Client) act(ctx context.Context, r *Release, log *slog.Logger, logf func(string, ...any)) (*act, error) {
	ctx, end := context.WithCancel(ctx)
	a := &act{wrote: &atomic.Bool{}, end: end, wait: []helmkube.WaitOption{helmkube.WithWaitContext(ctx), helmkube.WithStatusComputeWorkers(workers)}}
	config := rest.CopyConfig(c.cluster.Rest())
	config.Wrap(guarding(ctx, a.wrote))
	g, err := newGetter(config, r.Namespace)
	if err != nil {
		end()
		return nil, err
	}
	a.config = action.NewConfiguration(action.ConfigurationSetLogger(log.Handler()))
	if err := a.config.Init(g, r.storage(), "secret"); err != nil {
		end()
		return nil, fmt.Errorf("helm: %w", err)
	}
	// Nothing is rendered here that would ask for more.
	a.config.Capabilities = common.DefaultCapabilities
	hc := a.config.KubeClient.(*helmkube.Client)
	hc.Namespace = r.Namespace
	//lint:ignore SA1019 the legacy waiter takes it from nowhere else
	hc.WaitContext = ctx
	a.config.KubeClient = &watched{Client: hc, ctx: ctx, log: logf, pods: c.pods}
	return a, nil
}

// getter gives Helm its connections.
type getter struct {
	config    *rest.Config
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
	namespace string
}

func newGetter(config *rest.Config, namespace string) (*getter, error) {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(d)
	m := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	return &getter{config: config, discovery: cached, mapper: restmapper.NewShortcutExpander(m, cached, nil), namespace: namespace}, nil
}

// ToRESTConfig gives the configuration of clients.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient gives what the server has, remembered for this action.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

// ToRESTMapper maps kinds to resources.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader gives the namespace; there is no kubeconfig behind it.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	o := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), o)
}
