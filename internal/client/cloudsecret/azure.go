package cloudsecret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"trueup.dev/trueup/internal/secret"
)

// Azure reads Azure Key Vault. Names are NAME or NAME/VERSION.
type Azure struct {
	Vault     string // https://NAME.vault.azure.net
	Tenant    string // with Client and Secret
	Client    string // application (client) id
	Authority string // of another cloud than Azure's public one
	// Secret gives the application's secret; nil is the SDK's chain: the
	// environment, the workload's identity, the managed identity.
	Secret func(ctx context.Context) (secret.Value, error)
	HTTP   HTTP

	mu     sync.Mutex
	client *azsecrets.Client
}

// Resolve gives the secret that "NAME" or "NAME#FIELD" names.
func (a *Azure) Resolve(ctx context.Context, rest string) (secret.Value, error) {
	name, field, err := split(rest)
	if err != nil {
		return secret.Value{}, err
	}
	client, err := a.connect(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("azure: %w", err)
	}
	short, version, _ := strings.Cut(name, "/")
	out, err := client.GetSecret(ctx, short, version, nil)
	if err != nil {
		a.forget()
	}
	var said *azcore.ResponseError
	var login *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &login):
		return secret.Value{}, errors.New("azure: the login was refused: check tenant, client and secret")
	case errors.As(err, &said) && said.StatusCode == http.StatusNotFound:
		return secret.Value{}, fmt.Errorf("azure: there is no secret %s in %s: %w", name, a.Vault, secret.ErrNotFound)
	case errors.As(err, &said):
		return secret.Value{}, fmt.Errorf("azure: secret %s: status %d %s", name, said.StatusCode, said.ErrorCode)
	case err != nil:
		return secret.Value{}, fmt.Errorf("azure: secret %s: %w", name, err)
	case out.Value == nil:
		return secret.Value{}, fmt.Errorf("azure: secret %s has no value: %w", name, secret.ErrNotFound)
	}
	return pick(*out.Value, name, field)
}

func (a *Azure) connect(ctx context.Context) (*azsecrets.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		return a.client, nil
	}
	var o azcore.ClientOptions
	if a.HTTP != nil {
		o.Transport = a.HTTP
	}
	if a.Authority != "" {
		o.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: a.Authority}
	}
	creds, err := a.credentials(ctx, o)
	if err != nil {
		return nil, err
	}
	// The server's challenge names the resource that the token is for; where
	// the vault is not below Azure's public domain the two can't be compared.
	own := a.Authority != ""
	a.client, err = azsecrets.NewClient(a.Vault, creds, &azsecrets.ClientOptions{ClientOptions: o, DisableChallengeResourceVerification: own})
	return a.client, err
}

func (a *Azure) credentials(ctx context.Context, o azcore.ClientOptions) (azcore.TokenCredential, error) {
	if a.Secret == nil {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: o, TenantID: a.Tenant})
	}
	key, err := a.Secret(ctx)
	if err != nil {
		return nil, err
	}
	return azidentity.NewClientSecretCredential(a.Tenant, a.Client, key.Reveal(),
		&azidentity.ClientSecretCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: a.Authority != ""})
}

// forget makes the next call take the credentials anew.
func (a *Azure) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.client = nil
}
