package kubernetes

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/health"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/metacache"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/plan"
)

// Attention is how the environment looks at what it holds.
type Attention struct {
	// Watch follows the owned kinds by watches where the credentials allow that
	// (auto, the default), or looks by lists alone (off).
	Watch string `yaml:"watch,omitempty" json:"watch,omitempty" jsonschema:"enum=auto,enum=off"`
	// Health says by CEL expressions when objects of a kind are ready or have
	// failed. A target's own expressions come first.
	Health []health.Rule `yaml:"health,omitempty" json:"health,omitempty"`
}

func (a *Attention) validate(d *plan.Diagnostics) {
	if a.Watch != "" && a.Watch != "auto" && a.Watch != "off" {
		d.Errorf(plan.Source{}, "watch", "write auto or off", "%q is unknown", a.Watch)
	}
	_, found := health.Compile(a.Health, "health")
	*d = append(*d, found...)
}

// fingerprint says what the fingerprint is worth.
const fingerprint = "Metadata of the desired objects: UID, generation, deletion, and the fields that trueup owns by the server's own bookkeeping. " +
	"Status, and what others own, do not count. It misses what changes without a new generation and without a change of an owned field."

// prints are the fingerprints of the targets of a session.
type prints struct {
	watch bool
	log   *slog.Logger

	mu      sync.Mutex
	caches  map[*kube.Cluster]*metacache.Cache
	planned map[string]string // by target
	heard   []hearer
}

// hearer wants to know of changes.
type hearer struct {
	ctx    context.Context
	notify func(string)
}

// of gives the cache of those that act as somebody on the cluster.
func (p *prints) of(cl *kube.Cluster) *metacache.Cache {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.caches[cl]
	if c == nil {
		c = metacache.New(cl, metacache.Options{Managers: []string{manager, release.Manager}, Watch: p.watch, Log: p.log})
		if p.caches == nil {
			p.caches, p.planned = map[*kube.Cluster]*metacache.Cache{}, map[string]string{}
		}
		p.caches[cl] = c
		for _, h := range p.heard {
			go c.Notices(h.ctx, h.notify)
		}
	}
	return c
}

func (p *prints) set(target, fp string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fp == "" {
		delete(p.planned, target)
	} else {
		p.planned[target] = fp
	}
}

func (p *prints) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.caches {
		c.Close()
	}
}

// wants lists the objects that a fingerprint stands for; false where one of
// them is of a kind that is not served.
func (s *set) wants(ctx context.Context) ([]metacache.Want, []*object, bool) {
	if len(s.incomplete) > 0 {
		return nil, nil, false
	}
	var wants []metacache.Want
	var objects []*object
	for _, o := range s.order {
		if o.mapping.Resource.Resource == "" {
			return nil, nil, false
		}
		wants = append(wants, metacache.Want{Mapping: o.mapping, Namespace: o.ref.Namespace, Name: o.ref.Name})
		objects = append(objects, o)
	}
	for _, o := range s.helm.records(ctx) {
		if o.mapping.Resource.Resource == "" {
			return nil, nil, false
		}
		wants = append(wants, metacache.Want{Mapping: o.mapping, Namespace: o.ref.Namespace, Name: o.ref.Name, Whole: true})
		objects = append(objects, o)
	}
	for _, out := range s.spec.Outputs {
		ref, err := manifest.ParseAddress(plan.Address(out.Object))
		if err != nil {
			return nil, nil, false
		}
		if i := slices.IndexFunc(objects, func(o *object) bool { return o.ref == ref }); i >= 0 {
			wants[i].Whole = true
			continue
		}
		o := &object{ref: ref}
		if err := s.find(ctx, o); err != nil || o.mapping.Resource.Resource == "" {
			return nil, nil, false
		}
		wants = append(wants, metacache.Want{Mapping: o.mapping, Namespace: ref.Namespace, Name: ref.Name, Whole: true})
		objects = append(objects, o)
	}
	return wants, objects, true
}

// note remembers the fingerprint of what a plan was made from. What the plan
// did not read whole has none.
func (s *set) note(ctx context.Context, p *plan.Plan) {
	s.prints.set(s.in.Target, "")
	if s.purpose != driver.Write || s.in.Mode != plan.Apply || len(p.UnknownScopes()) > 0 {
		return
	}
	wants, objects, ok := s.wants(ctx)
	if !ok {
		return
	}
	cache := s.prints.of(s.cluster)
	if slices.ContainsFunc(objects, func(o *object) bool { return o.unread || o.desired == nil }) {
		cache.Remember(s.in.Target, wants)
		cache.Writing(s.in.Target)
		return
	}
	s.prints.set(s.in.Target, cache.Read(s.in.Target, wants, func(i int) metav1.Object {
		if objects[i].live == nil {
			return nil
		}
		return objects[i].live
	}))
}

// Planned gives the fingerprint of what the last plan for a target was made
// from.
func (s *session) Planned(target string) map[plan.Scope]string {
	s.prints.mu.Lock()
	defer s.prints.mu.Unlock()
	if fp := s.prints.planned[target]; fp != "" {
		return map[plan.Scope]string{"": fp}
	}
	return nil
}

// Fingerprint gives the fingerprint of the target's objects as they are now. A
// watch may not notice that its address leads to another cluster by now, so that
// is asked for itself.
func (s *session) Fingerprint(ctx context.Context, in driver.Input) (map[plan.Scope]string, error) {
	spec, err := specOf(in)
	if err != nil {
		return nil, err
	}
	cl, err := s.clusterFor(spec)
	if err != nil {
		return nil, err
	}
	if _, err := s.realm(ctx); err != nil {
		return nil, err
	}
	cache := s.prints.of(cl)
	if !cache.Knows(in.Target) {
		set, err := s.set(ctx, in)
		if err != nil {
			return nil, err
		}
		wants, _, ok := set.wants(ctx)
		if !ok {
			return nil, fmt.Errorf("not all kinds are served")
		}
		cache.Remember(in.Target, wants)
	}
	fp, err := cache.Fingerprint(ctx, in.Target)
	if err != nil {
		return nil, err
	}
	return map[plan.Scope]string{"": fp}, nil
}

// Watch tells of targets whose objects others change.
func (s *session) Watch(ctx context.Context, notify func(target string)) error {
	if !s.prints.watch {
		return nil
	}
	s.prints.mu.Lock()
	defer s.prints.mu.Unlock()
	s.prints.heard = append(s.prints.heard, hearer{ctx, notify})
	for _, c := range s.prints.caches {
		go c.Notices(ctx, notify)
	}
	return nil
}

var (
	_ driver.Planned       = (*session)(nil)
	_ driver.Watcher       = (*session)(nil)
	_ driver.HealthChecker = (*session)(nil)
	_ driver.CheckReader   = (*kubeDriver)(nil)
)
