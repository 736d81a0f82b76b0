package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/client/cloudsecret"
	"trueup.dev/trueup/internal/client/sops"
	"trueup.dev/trueup/internal/client/vault"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
)

// keepSecret is how long an answer of a secret store counts. It bounds the
// requests that a burst of work or webhooks makes, and the time until a
// rotated secret is seen.
const keepSecret = 10 * time.Second

// secretStores are the stores of secrets of a configuration. They follow when
// it is loaded anew.
type secretStores struct {
	dir   string
	local secret.Resolvers // env and file: what opens the stores
	slots map[string]*secret.Slot
	parts map[string]any       // settings in force
	open  map[string]io.Closer // what is to be closed
}

// newStores sets up the stores of a configuration.
func newStores(cfg *config.Server) (*secretStores, error) {
	s := &secretStores{dir: cfg.Dir, slots: map[string]*secret.Slot{}, parts: map[string]any{}, open: map[string]io.Closer{},
		local: secret.Resolvers{"env": secret.Env{}, "file": secret.File{Dir: cfg.Dir}}}
	for _, scheme := range []string{"vault", "sops", "aws", "gcp", "azure", "command"} {
		s.slots[scheme] = &secret.Slot{}
	}
	return s, s.use(cfg)
}

// resolvers gives the secret resolvers of a configuration, for one command.
func resolvers(cfg *config.Server) secret.Resolvers {
	s, err := newStores(cfg)
	if err != nil {
		bad := failing{err}
		return secret.Resolvers{"env": secret.Env{}, "file": secret.File{Dir: cfg.Dir}, "vault": bad, "sops": bad, "aws": bad, "gcp": bad, "azure": bad, "command": bad}
	}
	return s.all()
}

// failing is a store that could not be set up.
type failing struct{ err error }

func (f failing) Resolve(context.Context, string) (secret.Value, error) { return secret.Value{}, f.err }

// all gives the resolvers by scheme.
func (s *secretStores) all() secret.Resolvers {
	out := secret.Resolvers{"env": s.local["env"], "file": s.local["file"]}
	for scheme, slot := range s.slots {
		out[scheme] = slot
	}
	return out
}

// use puts a configuration's stores in place. One whose settings are the same
// stays, with its leases.
func (s *secretStores) use(cfg *config.Server) error {
	c := &cfg.Secrets
	made := map[string]secret.Resolver{}
	var errs []error
	for scheme, part := range map[string]any{"vault": c.Vault, "sops": c.SOPS, "aws": c.AWS, "gcp": c.GCP, "azure": c.Azure, "command": c.Command} {
		if reflect.DeepEqual(s.parts[scheme], part) {
			continue
		}
		r, err := s.make(part)
		if err != nil {
			errs = append(errs, fmt.Errorf("secrets.%s: %w", scheme, err))
		}
		made[scheme] = r
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	parts := map[string]any{"vault": c.Vault, "sops": c.SOPS, "aws": c.AWS, "gcp": c.GCP, "azure": c.Azure, "command": c.Command}
	for scheme, r := range made {
		old := s.open[scheme]
		delete(s.open, scheme)
		if closer, ok := r.(io.Closer); ok {
			s.open[scheme] = closer
		}
		if r == nil {
			s.slots[scheme].Put(nil)
		} else {
			s.slots[scheme].Put(secret.NewCached(r, keepSecret))
		}
		s.parts[scheme] = parts[scheme]
		if old != nil {
			_ = old.Close() // what it leased ends by itself at the latest
		}
	}
	return nil
}

// close gives leases and logins back.
func (s *secretStores) close() error {
	var errs []error
	for _, c := range s.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// make makes the resolver of one part; nil settings give none.
func (s *secretStores) make(part any) (secret.Resolver, error) {
	if reflect.ValueOf(part).IsNil() {
		return nil, nil
	}
	switch p := part.(type) {
	case *config.VaultSecrets:
		return s.vault(p)
	case *config.SOPSSecrets:
		return sopsFiles{s: s, c: p}, nil
	case *config.AWSSecrets:
		return s.aws(p), nil
	case *config.GCPSecrets:
		g := &cloudsecret.GCP{Project: p.Project, Endpoint: p.Endpoint}
		if p.Key != "" {
			g.Key = s.get(p.Key)
		}
		return g, nil
	case *config.AzureSecrets:
		a := &cloudsecret.Azure{Vault: p.Vault, Tenant: p.Tenant, Client: p.Client, Authority: p.Authority}
		if p.Secret != "" {
			a.Secret = s.get(p.Secret)
		}
		return a, nil
	case *config.CommandSecrets:
		return s.command(p), nil
	}
	return nil, fmt.Errorf("there is no secret store of type %T", part)
}

// get asks for a secret that opens a store, each time anew.
func (s *secretStores) get(ref secret.Ref) func(context.Context) (secret.Value, error) {
	return func(ctx context.Context) (secret.Value, error) { return s.local.Resolve(ctx, ref) }
}

func (s *secretStores) vault(p *config.VaultSecrets) (secret.Resolver, error) {
	o := vault.Options{Address: p.Address, Namespace: p.Namespace,
		Auth: vault.Auth{Method: p.Auth.Method, Mount: p.Auth.Mount, Role: p.Auth.Role, Secret: s.get(p.Auth.Token)}}
	if p.Auth.Method == "approle" {
		o.Auth.Role, o.Auth.Secret = p.Auth.RoleID, s.get(p.Auth.SecretID)
	}
	if p.CA != "" {
		pem, err := os.ReadFile(s.path(p.CA))
		if err != nil {
			return nil, err
		}
		o.CA = string(pem)
	}
	return vault.New(o)
}

func (s *secretStores) aws(p *config.AWSSecrets) secret.Resolver {
	a := &cloudsecret.AWS{Region: p.Region, Endpoint: p.Endpoint}
	if p.AccessKeyID != "" {
		a.Keys = func(ctx context.Context) (string, secret.Value, secret.Value, error) {
			key, err := s.local.Resolve(ctx, p.SecretKey)
			session, serr := s.local.Resolve(ctx, p.SessionToken)
			return p.AccessKeyID, key, session, errors.Join(err, serr)
		}
	}
	return a
}

func (s *secretStores) command(p *config.CommandSecrets) secret.Resolver {
	return secret.Command{Args: p.Args, Dir: s.dir, Timeout: p.Timeout, Env: func(ctx context.Context) ([]string, error) {
		out := []string{"PATH=" + os.Getenv("PATH")}
		for name, ref := range p.Env {
			v, err := s.local.Resolve(ctx, ref)
			if err != nil {
				return nil, err
			}
			out = append(out, name+"="+v.Reveal())
		}
		slices.Sort(out)
		return out, nil
	}}
}

func (s *secretStores) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// sopsFiles resolves "sops:FILE#KEY".
type sopsFiles struct {
	s *secretStores
	c *config.SOPSSecrets
}

// Resolve opens the file and gives one value of it.
func (f sopsFiles) Resolve(ctx context.Context, rest string) (secret.Value, error) {
	name, at, ok := strings.Cut(rest, "#")
	if !ok || name == "" || at == "" {
		return secret.Value{}, errors.New("write sops:FILE#KEY.KEY, as sops:secrets.yaml#dns.tsig")
	}
	file, err := os.Open(f.s.path(name))
	if err != nil {
		return secret.Value{}, err
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, sops.MaxFile+1))
	if err != nil {
		return secret.Value{}, err
	}
	keys := sops.Keys{Types: f.c.Keys}
	for _, ref := range f.c.Age {
		v, err := f.s.local.Resolve(ctx, ref)
		if err != nil {
			return secret.Value{}, err
		}
		keys.Age = append(keys.Age, v)
	}
	return sops.Value(ctx, name, body, at, keys)
}
