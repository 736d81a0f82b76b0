package cloudsecret

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"trueup.dev/trueup/internal/secret"
)

// AWS reads AWS Secrets Manager. Names are a secret's name or ARN.
type AWS struct {
	Region   string
	Endpoint string // of a VPC endpoint; "" is the region's own
	// Keys gives an access key; nil is the SDK's chain: environment, shared
	// files, web identity, the container's or the instance's role.
	Keys func(ctx context.Context) (id string, key, session secret.Value, err error)
	HTTP HTTP

	mu     sync.Mutex
	client *secretsmanager.Client
}

// Resolve gives the secret that "NAME" or "NAME#FIELD" names, in its current
// version (AWSCURRENT).
func (a *AWS) Resolve(ctx context.Context, rest string) (secret.Value, error) {
	name, field, err := split(rest)
	if err != nil {
		return secret.Value{}, err
	}
	client, err := a.connect(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("aws: %w", err)
	}
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(name)})
	var gone *types.ResourceNotFoundException
	var said smithy.APIError
	switch {
	case errors.As(err, &gone):
		return secret.Value{}, fmt.Errorf("aws: there is no secret %s in %s: %w", name, a.Region, secret.ErrNotFound)
	case errors.As(err, &said):
		return secret.Value{}, fmt.Errorf("aws: secret %s: %s: %s", name, said.ErrorCode(), said.ErrorMessage())
	case err != nil:
		return secret.Value{}, fmt.Errorf("aws: secret %s: %w", name, err)
	}
	if out.SecretString == nil {
		return pick(string(out.SecretBinary), name, field)
	}
	return pick(*out.SecretString, name, field)
}

func (a *AWS) connect(ctx context.Context) (*secretsmanager.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		return a.client, nil
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(a.Region)}
	if a.HTTP != nil {
		options = append(options, config.WithHTTPClient(a.HTTP))
	}
	if a.Keys != nil {
		options = append(options, config.WithCredentialsProvider(aws.NewCredentialsCache(aws.CredentialsProviderFunc(a.keys))))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	a.client = secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
		if a.Endpoint != "" {
			o.BaseEndpoint = aws.String(a.Endpoint)
		}
	})
	return a.client, nil
}

func (a *AWS) keys(ctx context.Context) (aws.Credentials, error) {
	id, key, session, err := a.Keys(ctx)
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: key.Reveal(), SessionToken: session.Reveal(), Source: "trueup"}, err
}
