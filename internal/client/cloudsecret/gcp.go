package cloudsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/secretmanager/v1"

	"trueup.dev/trueup/internal/secret"
)

// GCP reads Google Cloud Secret Manager. Names are a secret's short name in
// Project, or projects/P/secrets/S, both with /versions/V if not the latest.
type GCP struct {
	Project  string
	Endpoint string // "" is Google's own
	// Key gives a service account's JSON key; nil is the application default
	// credentials: the environment, the instance's or the workload's identity.
	Key  func(ctx context.Context) (secret.Value, error)
	HTTP HTTP

	mu     sync.Mutex
	client *secretmanager.Service
}

// Resolve gives the secret that "NAME" or "NAME#FIELD" names.
func (g *GCP) Resolve(ctx context.Context, rest string) (secret.Value, error) {
	name, field, err := split(rest)
	if err != nil {
		return secret.Value{}, err
	}
	full, err := g.name(name)
	if err != nil {
		return secret.Value{}, err
	}
	client, err := g.connect(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("gcp: %w", err)
	}
	out, err := client.Projects.Secrets.Versions.Access(full).Context(ctx).Do()
	if err != nil {
		g.forget()
	}
	var said *googleapi.Error
	switch {
	case errors.As(err, &said) && said.Code == http.StatusNotFound:
		return secret.Value{}, fmt.Errorf("gcp: there is no %s: %w", full, secret.ErrNotFound)
	case errors.As(err, &said):
		return secret.Value{}, fmt.Errorf("gcp: %s: status %d: %s", full, said.Code, said.Message)
	case err != nil:
		return secret.Value{}, fmt.Errorf("gcp: %s: %w", full, err)
	}
	data, err := base64.StdEncoding.DecodeString(out.Payload.Data)
	if err != nil {
		return secret.Value{}, fmt.Errorf("gcp: %s: the answer is no base64", full)
	}
	if sum := int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))); out.Payload.DataCrc32c != 0 && out.Payload.DataCrc32c != sum {
		return secret.Value{}, fmt.Errorf("gcp: %s: the answer was damaged on its way (CRC32C)", full)
	}
	return pick(string(data), name, field)
}

// name completes a short name.
func (g *GCP) name(name string) (string, error) {
	if !strings.HasPrefix(name, "projects/") {
		if g.Project == "" {
			return "", fmt.Errorf("gcp: write projects/PROJECT/secrets/%s, or set the project", name)
		}
		name = "projects/" + g.Project + "/secrets/" + name
	}
	if !strings.Contains(name, "/versions/") {
		name += "/versions/latest"
	}
	return name, nil
}

func (g *GCP) connect(ctx context.Context) (*secretmanager.Service, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		return g.client, nil
	}
	// The client outlives this call.
	ctx = context.WithoutCancel(ctx)
	if g.HTTP != nil {
		ctx = context.WithValue(ctx, oauth2.HTTPClient, g.HTTP)
	}
	creds, err := g.credentials(ctx)
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{option.WithHTTPClient(oauth2.NewClient(ctx, creds.TokenSource))}
	if g.Endpoint != "" {
		options = append(options, option.WithEndpoint(g.Endpoint))
	}
	g.client, err = secretmanager.NewService(ctx, options...)
	return g.client, err
}

func (g *GCP) credentials(ctx context.Context) (*google.Credentials, error) {
	if g.Key == nil {
		return google.FindDefaultCredentials(ctx, secretmanager.CloudPlatformScope)
	}
	key, err := g.Key(ctx)
	if err != nil {
		return nil, err
	}
	creds, err := google.CredentialsFromJSONWithType(ctx, []byte(key.Reveal()), google.ServiceAccount, secretmanager.CloudPlatformScope)
	if err != nil {
		return nil, errors.New("the service account's key can't be read: it is the JSON file that Google gives (not shown: it is a secret)")
	}
	return creds, nil
}

// forget makes the next call take the credentials anew.
func (g *GCP) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client = nil
}
