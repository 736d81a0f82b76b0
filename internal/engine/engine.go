// Package engine takes a commit to a running system: fetch, plan, gates,
// apply, verify. It knows drivers, Git and the store by their interfaces; what
// it decides, it decides in pure functions (decide.go).
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/identity"
	"trueup.dev/trueup/internal/notify"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// Options is what an engine is made of.
//
//house:exception one field for each thing that an engine is given
type Options struct {
	Store   store.Store
	Drivers driver.Registry
	Config  *config.Server
	// DataDir holds the mirrors.
	DataDir string
	// Resolvers turn secret references into values.
	Resolvers secret.Resolvers
	// Forges are the kinds of forges there are; nil is none.
	Forges forge.Registry
	// Registries opens the operator's registries of images and charts; nil is
	// none.
	Registries OpenRegistries
	// Agents reaches hosts that call in; nil where nobody answers them.
	Agents driver.Agents
	Log    *slog.Logger
	// Clock gives the time; nil is the system's.
	Clock func() time.Time
	// Owner names this process in leases; empty is host and process id.
	Owner string
	// Lease is how long a lease lasts without renewal; 0 is 30 s.
	Lease time.Duration
	// Parse reads configurations from a control repository; nil turns that off.
	Parse ParseConfig
	// Configured is told of a configuration before it is put in force, and may
	// refuse it; nil does nothing.
	Configured func(*config.Server) error
	// Fail is called at named points of a run, for tests that kill or fail
	// there; nil does nothing.
	Fail func(point string) error
}

// Engine reconciles targets.
type Engine struct {
	store store.Store
	parts
	leaseTime time.Duration
	maskKey   []byte

	cfg      atomic.Pointer[active]
	repos    *repoPool
	forges   *forgePool
	versions *registryPool
	people   *identity.Directory
	sessions *sessionPool
	running  *runningSet
	metrics  *metrics
	notices  *notices
	ready    atomic.Bool
}

// parts is what the engine was given.
type parts struct {
	drivers    driver.Registry
	resolvers  secret.Resolvers
	forgeKinds forge.Registry
	log        *slog.Logger
	clock      func() time.Time
	owner      string
	dataDir    string
	fail       func(string) error
	parse      ParseConfig
	configured func(*config.Server) error
	agents     driver.Agents
	registries OpenRegistries
}

// active is the configuration in force with what is made from it.
type active struct {
	*config.Server
	version int64
	router  *notify.Router
	rules   map[string]*policyRules
}

// New makes an engine and stores its configuration.
func New(ctx context.Context, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = func() time.Time { return time.Now().UTC() }
	}
	if o.Owner == "" {
		host, _ := os.Hostname()
		o.Owner = fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano())
	}
	if o.Lease == 0 {
		o.Lease = 30 * time.Second
	}
	if o.Configured == nil {
		o.Configured = func(*config.Server) error { return nil }
	}
	if o.Fail == nil {
		o.Fail = func(string) error { return nil }
	}
	e := &Engine{store: o.Store, leaseTime: o.Lease, running: newRunningSet(), metrics: newMetrics(),
		parts: parts{drivers: o.Drivers, resolvers: o.Resolvers, forgeKinds: o.Forges, log: o.Log, clock: o.Clock, owner: o.Owner,
			dataDir: o.DataDir, fail: o.Fail, parse: o.Parse, configured: o.Configured, agents: o.Agents, registries: o.Registries}}
	e.repos = newRepoPool(e)
	e.forges = newForgePool(e)
	e.versions = &registryPool{e: e}
	e.people = identity.New(func() *config.Server { return e.cfg.Load().Server }, e, e.clock)
	e.sessions = newSessionPool(e)
	e.notices = newNotices(e.noticed)
	key, err := o.Store.Key(ctx, "mask")
	if err != nil {
		return nil, fmt.Errorf("the key for masked values: %w", err)
	}
	e.maskKey = key
	c, err := e.startConfig(ctx, o.Config)
	if err != nil {
		return nil, fmt.Errorf("the stored configuration: %w", err)
	}
	return e, e.setConfig(ctx, c, "system:start")
}

// setConfig puts a configuration in force under its stored version.
func (e *Engine) setConfig(ctx context.Context, c *config.Server, by store.Actor) error {
	rules := map[string]*policyRules{}
	for name, p := range c.Policies {
		r, err := compilePolicy(p)
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		rules[name] = r
	}
	if err := e.refuseDropped(ctx, c); err != nil {
		return err
	}
	if err := e.configured(c); err != nil {
		return err
	}
	version, err := e.store.PutConfig(ctx, c.Digest, c.Body, by)
	if err != nil {
		return fmt.Errorf("store the configuration: %w", err)
	}
	e.cfg.Store(&active{Server: c, version: version, router: notify.New(c.Notify, e.resolvers), rules: rules})
	return nil
}

// refuseDropped keeps an environment that still has inventory from vanishing
// from the configuration: it can only be retired.
func (e *Engine) refuseDropped(ctx context.Context, c *config.Server) error {
	old := e.cfg.Load()
	if old == nil {
		return nil
	}
	var errs []error
	for name := range old.Environments {
		if _, still := c.Environments[name]; still {
			continue
		}
		err := e.eachTarget(ctx, store.TargetFilter{Environment: name}, func(t store.Target) error {
			if t.Status.Owned == 0 {
				return nil
			}
			return fmt.Errorf("environment %s was removed but target %s still owns %d objects there: keep it with `retired: true`", name, t.ID, t.Status.Owned)
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// eachTarget calls fn for all targets that fit, until it gives an error.
func (e *Engine) eachTarget(ctx context.Context, f store.TargetFilter, fn func(store.Target) error) error {
	f.Page = store.Page{Limit: 1000}
	for {
		ts, next, err := e.store.Targets(ctx, f)
		if err != nil {
			return err
		}
		for _, t := range ts {
			if err := fn(t); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		f.After = next
	}
}

// Reload puts a new configuration in force and asks for a poll of every
// repository, so that targets are resolved anew.
func (e *Engine) Reload(ctx context.Context, c *config.Server, by store.Actor) error {
	old := e.cfg.Load()
	if err := e.setConfig(ctx, c, by); err != nil {
		return err
	}
	e.sessions.closeAll()
	e.versions.reset()
	e.repos.reset(func(name string) bool {
		a, b := old.Repositories[name], c.Repositories[name]
		return a != nil && b != nil && reflect.DeepEqual(*a, *b)
	})
	if err := e.event(ctx, by, "config.loaded", "", "", map[string]any{"version": e.cfg.Load().version}); err != nil {
		return err
	}
	// What a gate holds, a new policy may let pass.
	if err := e.retrigger(ctx, by, "", ""); err != nil {
		return err
	}
	return e.seed(ctx, store.ByPush, "config", by)
}

// seed makes sure that every repository has its poll work.
func (e *Engine) seed(ctx context.Context, class store.Class, cause string, by store.Actor) error {
	var ts []store.Trigger
	for name, conf := range e.cfg.Load().Repositories {
		ts = append(ts, store.Trigger{Kind: store.Poll, Key: name, Slot: repoSlot(name), Class: class, Cause: cause, Actor: by})
		if conf.Forge != nil {
			ts = append(ts, store.Trigger{Kind: store.Preview, Key: name + "#" + openWork, Slot: pullSlot(name), Class: class, Cause: cause, Actor: by})
		}
	}
	if len(ts) == 0 {
		return nil
	}
	return e.store.Trigger(ctx, ts...)
}

func repoSlot(name string) string { return "repository:" + name }

// Ready tells whether the engine has started and can reach its store.
func (e *Engine) Ready() error {
	if !e.ready.Load() {
		return errors.New("starting")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := e.store.Now(ctx)
	return err
}

// Config gives the configuration in force.
func (e *Engine) Config() *config.Server { return e.cfg.Load().Server }

// runningSet knows the runs of this process.
type runningSet struct {
	mu sync.Mutex
	m  map[store.Fence]context.CancelCauseFunc
	wg sync.WaitGroup
	// freed is signalled when a run ends.
	freed chan struct{}
}

func newRunningSet() *runningSet {
	return &runningSet{m: map[store.Fence]context.CancelCauseFunc{}, freed: make(chan struct{}, 1)}
}

func (r *runningSet) add(f store.Fence, cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m[f] = cancel
	r.wg.Add(1)
}

func (r *runningSet) remove(f store.Fence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.m[f]; ok {
		delete(r.m, f)
		r.wg.Done()
	}
}

func (r *runningSet) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.m)
}

func (r *runningSet) fences() []store.Fence {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]store.Fence, 0, len(r.m))
	for f := range r.m {
		out = append(out, f)
	}
	return out
}

func (r *runningSet) cancel(f store.Fence, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.m[f]; ok {
		c(cause)
	}
}
