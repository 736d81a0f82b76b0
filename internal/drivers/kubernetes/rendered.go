package kubernetes

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// renderer renders with all that an environment gives.
type renderer struct {
	driver       *kubeDriver
	opener       opener
	cache        *render.Cache // what was opened is in it
	capabilities capabilities
}

// prepared gives the desired objects as this session sees them. What was
// prepared without a cluster serves, unless something was missing there: keys,
// artefacts, or what a chart asks of the cluster.
func (s *session) prepared(ctx context.Context, in driver.Input, spec *Spec, cluster *kube.Cluster) (*prepared, error) {
	prep := in.Prepared
	if prep == nil || prep.State == nil {
		var err error
		if prep, err = s.driver.Prepare(ctx, in); err != nil {
			return nil, err
		}
	}
	p, ok := prep.State.(*prepared)
	if prep.State != nil && !ok {
		return nil, driver.Permanent(fmt.Errorf("kubernetes: prepared state is a %T", prep.State))
	}
	if err := prep.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	if p.release != nil || len(p.incomplete) == 0 && !asksCluster(in, spec) {
		return p, nil
	}
	return p.again(s, func() (*prepared, error) { return s.render(ctx, in, spec, cluster) })
}

// again keeps a session's own rendering with the first, so that the plan, the
// apply and the reading back of one run share it.
func (p *prepared) again(s *session, do func() (*prepared, error)) (*prepared, error) {
	p.second.mu.Lock()
	defer p.second.mu.Unlock()
	if p.second.is != nil && p.second.by == s {
		return p.second.is, nil
	}
	is, err := do()
	if err == nil {
		p.second.is, p.second.by = is, s
	}
	return is, err
}

type second struct {
	mu sync.Mutex
	by *session
	is *prepared
}

// render makes the objects with all that the environment gives.
func (s *session) render(ctx context.Context, in driver.Input, spec *Spec, cluster *kube.Cluster) (*prepared, error) {
	rin := inputOf(in, spec)
	rin.Cache = s.cache
	rin.Decrypt, rin.Fetch, rin.RemoteBases = s.opener.decrypt, s.opener.fetch, s.connect.RemoteBases
	if asksCluster(in, spec) {
		var err error
		if rin.Capabilities, err = s.capabilities.of(ctx, cluster); err != nil {
			return nil, err
		}
	}
	r, err := render.Render(ctx, rin)
	if err != nil {
		return nil, err
	}
	p := preparedOf(r)
	if err := p.diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	return p, nil
}

// asksCluster tells that the target is a chart, which may ask what the cluster
// can do.
func asksCluster(in driver.Input, spec *Spec) bool {
	switch {
	case spec.Render == render.Helm, spec.Helm != nil, strings.HasSuffix(in.Path, ".tgz"):
		return true
	case spec.Render != "" && spec.Render != render.Auto || in.Tree == nil:
		return false
	}
	_, err := fs.Stat(in.Tree, path.Join(in.Path, "Chart.yaml"))
	return err == nil
}

// capabilities are what a cluster can do, as charts ask for it.
type capabilities struct {
	mu sync.Mutex
	is render.Capabilities
	at time.Time
}

// capabilitiesFor is how long they are taken for the same.
const capabilitiesFor = time.Minute

func (c *capabilities) of(ctx context.Context, cluster *kube.Cluster) (render.Capabilities, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > capabilitiesFor {
		is, err := ask(ctx, cluster, c.is)
		if err != nil {
			return is, fmt.Errorf("what the cluster can do: %w", err)
		}
		c.is, c.at = is, time.Now()
	}
	return c.is, nil
}

// ask asks the cluster. The kinds of an aggregated API that does not answer are
// those that it had before: one that is down must not change what charts make.
func ask(ctx context.Context, cluster *kube.Cluster, before render.Capabilities) (is render.Capabilities, err error) {
	if is.KubeVersion, err = cluster.Version(ctx); err != nil {
		return is, err
	}
	kinds, silent, err := cluster.Served(ctx)
	if err != nil {
		return is, err
	}
	for _, v := range silent {
		is.APIVersions = append(is.APIVersions, v.String())
		n := len(is.APIVersions)
		for _, known := range before.APIVersions {
			if strings.HasPrefix(known, v.String()+"/") {
				is.APIVersions = append(is.APIVersions, known)
			}
		}
		if len(is.APIVersions) == n {
			is.Silent = append(is.Silent, v.String())
		}
	}
	for _, k := range kinds {
		v := k.GroupVersion().String()
		is.APIVersions = append(is.APIVersions, v, v+"/"+k.Kind)
	}
	slices.Sort(is.APIVersions)
	is.APIVersions = slices.Compact(is.APIVersions)
	return is, nil
}
