package kubernetes

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/drivers/kubernetes/health"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/plan"
)

// session is a connection to one cluster.
type session struct {
	connect *Connect
	cluster *kube.Cluster
	purpose driver.Purpose
	key     []byte
	memo    memo
	shelves shelves
	prints  prints
	checks  *health.Checker
	renderer
	clients clients

	mu   sync.Mutex
	as   map[string]*kube.Cluster // by the user that is impersonated
	same time.Time                // when it was last seen to be the same cluster
}

func newSession(c *Connect, cl *kube.Cluster, env driver.Environment, purpose driver.Purpose) *session {
	rules, _ := health.Compile(c.Health, "health") // Validate has found the mistakes
	return &session{connect: c, cluster: cl, purpose: purpose, key: env.HashKey, as: map[string]*kube.Cluster{},
		prints: prints{watch: c.Watch != "off", log: env.Log}, checks: health.New([]string{manager, release.Manager}, rules)}
}

// Close ends the session with its watches.
func (s *session) Close() error {
	s.prints.close()
	s.cluster.Close()
	s.opener.registry.Close()
	return nil
}

// Plan compares what the snapshot asks for with the cluster.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(set.incomplete) > 0 {
		return set.unknown(ctx)
	}
	planned := in
	if set.helm != nil {
		if planned, err = set.helm.claimed(ctx, in); err != nil {
			return nil, err
		}
	}
	p, err := setplan.Plan(ctx, planned, set.asSet())
	if err != nil {
		return nil, err
	}
	p.Driver, p.Version = name, version
	if err := set.settleHooks(ctx, p); err != nil {
		return nil, err
	}
	if err := set.judge(p); err != nil {
		return nil, err
	}
	if err := set.follow(p); err != nil {
		return nil, err
	}
	if err := set.spare(ctx, p); err != nil {
		return nil, err
	}
	if err := set.outputs(p); err != nil {
		return nil, err
	}
	if err := set.helm.judge(ctx, p); err != nil {
		return nil, err
	}
	p.Warnings = append(p.Warnings, set.warnings...)
	if p.Artefact, err = json.Marshal(set.artefactOf(p)); err != nil {
		return nil, err
	}
	set.note(ctx, p)
	return p, ctx.Err()
}

// unknown is the plan for what is not known yet.
func (s *set) unknown(ctx context.Context) (*plan.Plan, error) {
	realm, err := s.realm(ctx)
	if err != nil {
		return nil, err
	}
	return &plan.Plan{Target: s.in.Target, Driver: name, Version: version, Mode: s.in.Mode, Changes: []plan.Change{}, Warnings: s.warnings,
		Scopes: []plan.ScopePlan{{Realm: realm, Unknown: strings.Join(s.incomplete, "; ")}}}, nil
}

// Apply carries a plan out.
func (s *session) Apply(ctx context.Context, in driver.Input, p *plan.Plan, report driver.Report) error {
	if s.purpose != driver.Write {
		return driver.Permanent(errors.New("kubernetes: the session was opened to read"))
	}
	set, err := s.set(ctx, in)
	if err != nil {
		return err
	}
	if len(set.incomplete) > 0 {
		return fmt.Errorf("%s: %w", strings.Join(set.incomplete, "; "), driver.ErrStale)
	}
	set.planned = &artefact{}
	if len(p.Artefact) > 0 {
		if err := json.Unmarshal(p.Artefact, set.planned); err != nil {
			return driver.Permanent(fmt.Errorf("kubernetes: the plan's own part can't be read: %w", err))
		}
	}
	s.prints.of(set.cluster).Writing(in.Target)
	set.run = set.newRun(p, report)
	defer set.tidy(ctx)
	return setplan.Apply(ctx, in, p, set.asSet(), set.run)
}

// clusterFor gives the cluster as the target may use it.
func (s *session) clusterFor(spec *Spec) (*kube.Cluster, error) {
	ns, n := spec.account()
	switch {
	case n == "" && s.connect.RequireServiceAccount:
		return nil, driver.Permanent(errors.New("spec.serviceAccount: the environment asks every target to name one"))
	case n == "":
		return s.cluster, nil
	case !matches(s.connect.ServiceAccounts, ns+"/"+n):
		return nil, driver.Permanent(fmt.Errorf("spec.serviceAccount: the environment does not allow %s/%s", ns, n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user := spec.user()
	if c := s.as[user]; c != nil {
		return c, nil
	}
	c, err := s.cluster.As(rest.ImpersonationConfig{UserName: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}})
	if err == nil {
		s.as[user] = c
	}
	return c, err
}

// sameFor is how long a cluster is taken for the same without asking.
const sameFor = 2 * time.Second

// realm tells which cluster this is, asked anew: an address may lead to
// another one by now.
func (s *session) realm(ctx context.Context) (string, error) {
	s.mu.Lock()
	fresh := time.Since(s.same) < sameFor
	s.mu.Unlock()
	if !fresh {
		if err := s.cluster.Same(ctx); err != nil {
			return "", err
		}
		s.mu.Lock()
		s.same = time.Now()
		s.mu.Unlock()
	}
	uid, err := s.cluster.UID(ctx)
	return name + ":" + uid, err
}

// hash stands for a value, secrets included.
func (s *session) hash(mark string, v any) string {
	m := hmac.New(sha256.New, append([]byte(name+" "+mark), s.key...))
	if err := json.NewEncoder(m).Encode(v); err != nil {
		fmt.Fprintf(m, "%v", v)
	}
	return hex.EncodeToString(m.Sum(nil)[:16])
}
