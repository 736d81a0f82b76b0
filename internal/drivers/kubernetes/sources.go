package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/client/sops"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// opener opens what is encrypted and fetches what lies outside of Git, as far
// as the operator gave keys and sources for it.
type opener struct {
	keys     *sops.Keys // nil: none were given
	registry *registry.Client
}

func (c *Connect) opener(ctx context.Context, env driver.Environment) (opener, error) {
	var o opener
	if c.SOPS != nil {
		o.keys = &sops.Keys{Types: c.SOPS.Types}
		for i, ref := range c.SOPS.Age {
			v, err := env.Secret(ctx, ref)
			if err != nil {
				return o, fmt.Errorf("sops.age[%d]: %w", i, err)
			}
			o.keys.Age = append(o.keys.Age, v)
		}
	}
	var err error
	o.registry, err = registry.New(registry.Options{Sources: c.Sources, Secret: env.Secret, Dir: env.Dir, Cache: registry.CacheDir(), UserAgent: userAgent})
	if err != nil {
		return o, driver.Permanent(fmt.Errorf("sources: %w", err))
	}
	return o, nil
}

// decrypt opens a file that SOPS encrypted.
func (o opener) decrypt(ctx context.Context, file string, data []byte) ([]byte, error) {
	if o.keys == nil {
		return nil, errors.New("the environment has no keys: connect.sops names them")
	}
	return sops.Decrypt(ctx, file, data, *o.keys)
}

// fetch gives an artefact that is pinned by its digest.
func (o opener) fetch(ctx context.Context, s render.Source) ([]byte, error) {
	body, err := o.registry.Fetch(ctx, s.URL, s.Name, s.Version, s.Digest)
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, registry.ErrRefused):
		return nil, driver.Permanent(fmt.Errorf("%s: %w (the environment's connect.sources lists them)", s.URL, err))
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrContent):
		return nil, driver.Permanent(fmt.Errorf("%s: %w", s.URL, err))
	}
	return nil, fmt.Errorf("%s: %w", s.URL, err)
}
