package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"trueup.dev/trueup/internal/driver"
)

// Media types of content that is a tar.gz.
const (
	FluxContent  = "application/vnd.cncf.flux.content.v1.tar+gzip"
	ChartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// contents are the media types that are taken, the most telling first.
var contents = []types.MediaType{ChartContent, FluxContent, types.OCILayer, types.DockerLayer, "application/tar+gzip", "application/gzip"}

// shelf is a repository with the place of its content in the cache.
type shelf struct {
	c     *Client
	d     *door
	repo  name.Repository
	scope string
}

func (c *Client) shelf(d *door, p place) (shelf, error) {
	repo, err := d.repository(p)
	return shelf{c: c, d: d, repo: repo, scope: scope(d, p)}, err
}

// artefact gives the content of an OCI artefact: the one layer that is a tar.gz.
func (s shelf) artefact(ctx context.Context, digest string) ([]byte, error) {
	body, err := s.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	layer, err := contentLayer(body)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("%w: %w", ErrContent, err))
	}
	return s.blob(ctx, layer.Digest.String(), maxArtefact)
}

// manifest reads and checks a manifest, or an index of them.
func (s shelf) manifest(ctx context.Context, digest string) ([]byte, error) {
	return s.c.content(s.scope, digest, maxPage, func() ([]byte, error) {
		ctx, call := withCall(ctx, maxPage)
		desc, err := s.d.puller.Get(ctx, s.repo.Digest(digest))
		if err != nil {
			return nil, call.explain(ctx, err)
		}
		return desc.Manifest, nil
	})
}

func (s shelf) blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	return s.c.content(s.scope, digest, limit, func() ([]byte, error) {
		ctx, call := withCall(ctx, limit)
		layer, err := s.d.puller.Layer(ctx, s.repo.Digest(digest))
		if err != nil {
			return nil, call.explain(ctx, err)
		}
		body, err := layer.Compressed()
		if err != nil {
			return nil, call.explain(ctx, err)
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		return b, call.explain(ctx, err)
	})
}

func contentLayer(manifest []byte) (*v1.Descriptor, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("the manifest can't be read: %w", err)
	}
	if m.MediaType.IsIndex() || len(m.Layers) == 0 {
		return nil, fmt.Errorf("it is an index of images, or has no layers; an artefact has one with its files")
	}
	for _, want := range contents {
		var found *v1.Descriptor
		for i := range m.Layers {
			if m.Layers[i].MediaType != want {
				continue
			}
			if found != nil {
				return nil, fmt.Errorf("it has several layers of the type %s; an artefact has one with its files", want)
			}
			found = &m.Layers[i]
		}
		if found != nil {
			if found.Size > maxArtefact {
				return nil, fmt.Errorf("it has %d bytes, more than %d", found.Size, maxArtefact)
			}
			return found, CheckDigest(found.Digest.String())
		}
	}
	return nil, fmt.Errorf("its layers are of the type %s, which is no tar.gz that trueup knows", m.Layers[0].MediaType)
}

// Created tells when an image or artefact was made, as it says itself; the
// zero time where it does not.
func (c *Client) Created(ctx context.Context, rawURL, digest string) (time.Time, error) {
	d, p, err := c.find(rawURL, "")
	if err != nil {
		return time.Time{}, err
	}
	if !p.oci || CheckDigest(digest) != nil {
		return time.Time{}, driver.Permanent(fmt.Errorf("%s@%.80s is no image", shown(rawURL), digest))
	}
	s, err := c.shelf(d, p)
	if err != nil {
		return time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := s.manifest(ctx, digest)
	if err != nil {
		return time.Time{}, err
	}
	// The images of an index are built together.
	if ix, err := v1.ParseIndexManifest(bytes.NewReader(body)); err == nil && len(ix.Manifests) > 0 {
		first := ix.Manifests[0].Digest.String()
		if CheckDigest(first) != nil {
			return time.Time{}, nil
		}
		if body, err = s.manifest(ctx, first); err != nil {
			return time.Time{}, err
		}
	}
	return s.created(ctx, body)
}

func (s shelf) created(ctx context.Context, manifest []byte) (time.Time, error) {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return time.Time{}, nil // it says nothing that can be read
	}
	if at, err := time.Parse(time.RFC3339, m.Annotations["org.opencontainers.image.created"]); err == nil {
		return at, nil
	}
	if m.Config.Size <= 2 || m.Config.Size > maxPage || CheckDigest(m.Config.Digest.String()) != nil {
		return time.Time{}, nil
	}
	b, err := s.blob(ctx, m.Config.Digest.String(), maxPage)
	if err != nil {
		return time.Time{}, err
	}
	var conf struct {
		Created time.Time `json:"created"`
	}
	if json.Unmarshal(b, &conf) != nil {
		return time.Time{}, nil
	}
	return conf.Created, nil
}
