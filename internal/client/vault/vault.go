// Package vault reads secrets from HashiCorp Vault and OpenBao over their
// common API (https://developer.hashicorp.com/vault/api-docs). Key-value
// engines of both versions are read by field; other engines make a secret on
// demand, whose lease is renewed for as long as it can be.
package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"trueup.dev/trueup/internal/secret"
)

// Options say where Vault is and how to log in.
type Options struct {
	Address   string // https://vault:8200
	Namespace string // of Vault Enterprise and OpenBao; "" is the root
	CA        string // PEM certificates trusted instead of the system's
	Auth      Auth
	Timeout   time.Duration // of one request; 0 is 15 s
	Now       func() time.Time
}

// Auth says how to log in. Credentials are asked for at every login, so that
// a token that a platform rotates is never old.
type Auth struct {
	Method string // token, approle, kubernetes or jwt
	Mount  string // default: the method's name
	Role   string // kubernetes, jwt: the role; approle: the role id
	// Secret gives the token, the approle's secret id, or the JWT.
	Secret func(ctx context.Context) (secret.Value, error)
}

// Client is a connection to one Vault. It is safe for concurrent use.
type Client struct {
	o   Options
	api *api.Client

	login  sync.Mutex // one login at a time
	mu     sync.Mutex
	token  token
	mounts map[string]mount
	leased map[string]*lease
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

// token is what a login gave.
type token struct {
	value     string
	until     time.Time // zero: does not end
	renewAt   time.Time // zero: can't be renewed
	increment time.Duration
}

// New makes a client. It does not connect.
func New(o Options) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Auth.Mount == "" {
		o.Auth.Mount = o.Auth.Method
	}
	// Not the default configuration: it reads VAULT_ADDR, VAULT_TOKEN and the
	// like from the environment, past the operator's file.
	cfg := &api.Config{Address: o.Address, HttpClient: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()},
		Timeout: o.Timeout, MaxRetries: 2, MinRetryWait: 200 * time.Millisecond, MaxRetryWait: 2 * time.Second,
		CheckRetry: api.DefaultRetryPolicy, Backoff: nil, DisableRedirects: true}
	if o.CA != "" {
		if err := cfg.ConfigureTLS(&api.TLSConfig{CACertBytes: []byte(o.CA)}); err != nil {
			return nil, fmt.Errorf("vault: the CA: %w", err)
		}
	}
	c, err := api.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	c.ClearToken()
	c.SetNamespace(o.Namespace)
	ctx, stop := context.WithCancel(context.Background())
	v := &Client{o: o, api: c, mounts: map[string]mount{}, leased: map[string]*lease{}, stop: stop}
	v.ended.Go(func() { v.keep(ctx) })
	return v, nil
}

// Close ends the renewals and gives leases and the login back, as far as
// Vault can be reached. A token that was given, not made by a login, stays.
func (c *Client) Close() error {
	c.stop()
	c.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.value == "" {
		return nil
	}
	var errs []error
	for _, l := range c.leased {
		errs = append(errs, c.api.Sys().RevokeWithContext(ctx, l.id))
	}
	c.leased = map[string]*lease{}
	if c.o.Auth.Method != "token" {
		errs = append(errs, c.with(c.token.value).Auth().Token().RevokeSelfWithContext(ctx, ""))
	}
	c.token = token{}
	return errors.Join(errs...)
}

// with gives the client with a token.
func (c *Client) with(token string) *api.Client {
	x, err := c.api.CloneWithHeaders()
	if err != nil { // only a broken address, which New refused
		return c.api
	}
	x.SetToken(token)
	return x
}

// authorised gives a client that is logged in; what was last found to be
// refused is not used again.
func (c *Client) authorised(ctx context.Context, refused string) (*api.Client, string, error) {
	c.login.Lock()
	defer c.login.Unlock()
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	if t.value == "" || t.value == refused || !t.until.IsZero() && !c.o.Now().Before(t.until) {
		var err error
		if t, err = c.logIn(ctx); err != nil {
			return nil, "", err
		}
		c.mu.Lock()
		c.token = t
		c.mu.Unlock()
	}
	return c.with(t.value), t.value, nil
}

// logIn asks for a token by the method of the options.
func (c *Client) logIn(ctx context.Context) (token, error) {
	given, err := c.o.Auth.Secret(ctx)
	if err != nil {
		return token{}, fmt.Errorf("vault: the credentials for %s: %w", c.o.Auth.Method, err)
	}
	if given.Empty() {
		return token{}, fmt.Errorf("vault: the credentials for %s are empty", c.o.Auth.Method)
	}
	if c.o.Auth.Method == "token" {
		s, err := c.with(given.Reveal()).Auth().Token().LookupSelfWithContext(ctx)
		if err != nil {
			return token{}, loginTrouble("token", err)
		}
		ttl, err := s.TokenTTL()
		if err != nil {
			return token{}, fmt.Errorf("vault: the token's time to live: %w", err)
		}
		renewable, err := s.TokenIsRenewable()
		return c.newToken(given.Reveal(), ttl, renewable), err
	}
	body := map[string]any{"role": c.o.Auth.Role, "jwt": given.Reveal()}
	if c.o.Auth.Method == "approle" {
		body = map[string]any{"role_id": c.o.Auth.Role, "secret_id": given.Reveal()}
	}
	s, err := c.with("").Logical().WriteWithContext(ctx, "auth/"+c.o.Auth.Mount+"/login", body)
	if err != nil {
		return token{}, loginTrouble(c.o.Auth.Method, err)
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return token{}, fmt.Errorf("vault: the login by %s gave no token", c.o.Auth.Method)
	}
	return c.newToken(s.Auth.ClientToken, time.Duration(s.Auth.LeaseDuration)*time.Second, s.Auth.Renewable), nil
}

func (c *Client) newToken(value string, ttl time.Duration, renewable bool) token {
	t := token{value: value, increment: ttl}
	if ttl > 0 {
		t.until = c.o.Now().Add(ttl)
		if renewable {
			t.renewAt = c.o.Now().Add(ttl * 2 / 3)
		}
	}
	return t
}

// do calls Vault, logging in anew when the token turns out to be refused.
func (c *Client) do(ctx context.Context, what string, call func(*api.Client) (*api.Secret, error)) (*api.Secret, error) {
	var refused string
	for {
		client, used, err := c.authorised(ctx, refused)
		if err != nil {
			return nil, err
		}
		s, err := call(client)
		var re *api.ResponseError
		if refused == "" && errors.As(err, &re) && re.StatusCode == http.StatusForbidden {
			refused = used // it may have been revoked: once more with a new one
			continue
		}
		if err != nil {
			return nil, trouble(what, err)
		}
		return s, nil
	}
}

// trouble puts an error of Vault into words, without the request's body.
func trouble(what string, err error) error {
	var re *api.ResponseError
	if !errors.As(err, &re) {
		return fmt.Errorf("vault: can't %s: %w", what, err)
	}
	switch re.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("vault: can't %s: %w", what, secret.ErrNotFound)
	case http.StatusForbidden:
		return refusal{what: what, cause: re}
	case http.StatusServiceUnavailable:
		return fmt.Errorf("vault: can't %s: it is sealed or in maintenance", what)
	}
	return fmt.Errorf("vault: can't %s: status %d: %v", what, re.StatusCode, re.Errors)
}

// loginTrouble puts a failed login into words. A refusal is not passed on as
// one of the call that wanted the login.
func loginTrouble(method string, err error) error {
	var re *api.ResponseError
	if errors.As(err, &re) && (re.StatusCode == http.StatusForbidden || re.StatusCode == http.StatusBadRequest) {
		return fmt.Errorf("vault: the login by %s was refused (status %d): check the role and its credentials", method, re.StatusCode)
	}
	return trouble("log in by "+method, err)
}

// refusal is a call that Vault did not allow.
type refusal struct {
	what  string
	cause *api.ResponseError
}

// Error says what was refused. The answer's own words add nothing to it.
func (r refusal) Error() string { return fmt.Sprintf("vault: can't %s: permission denied", r.what) }

// Unwrap gives Vault's answer.
func (r refusal) Unwrap() error { return r.cause }
