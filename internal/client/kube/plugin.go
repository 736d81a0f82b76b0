package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	pluginTimeout = time.Minute
	pluginOutput  = 1 << 20
)

// plugin is a program that gives credentials. client-go's own runner gives it
// this process' whole environment and standard error, and waits for ever.
//
// Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
type plugin struct {
	config  *api.ExecConfig
	info    []byte // KUBERNETES_EXEC_INFO
	rotated func() // ends connections made with an older certificate

	lock  lock
	token string
	cert  *tls.Certificate
	until time.Time // when the credentials end; zero is never
	ready bool
}

func newPlugin(config *rest.Config, rotated func()) *plugin {
	p := &plugin{config: config.ExecProvider, rotated: rotated, lock: newLock()}
	info := auth.ExecCredential{TypeMeta: metav1.TypeMeta{APIVersion: p.config.APIVersion, Kind: "ExecCredential"}}
	if p.config.ProvideClusterInfo {
		info.Spec.Cluster = &auth.Cluster{Server: config.Host, TLSServerName: config.ServerName, InsecureSkipTLSVerify: config.Insecure, CertificateAuthorityData: config.CAData}
		if u, ok := p.config.Config.(*runtime.Unknown); ok {
			info.Spec.Cluster.Config = runtime.RawExtension{Raw: u.Raw}
		}
	}
	p.info, _ = json.Marshal(info)
	return p
}

// wrap adds the token to requests.
func (p *plugin) wrap(base http.RoundTripper) http.RoundTripper { return &withToken{p: p, base: base} }

type withToken struct {
	p    *plugin
	base http.RoundTripper
}

// RoundTrip sends a request with the token. A token that is not accepted is
// asked for anew the next time.
func (w *withToken) RoundTrip(req *http.Request) (*http.Response, error) {
	token, _, err := w.p.get(req.Context())
	if err != nil {
		return nil, err
	}
	if token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		w.p.forget(token)
	}
	return resp, err
}

func (p *plugin) certificate(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	_, cert, err := p.get(info.Context())
	if cert == nil {
		cert = &tls.Certificate{}
	}
	return cert, err
}

func (p *plugin) forget(token string) {
	_ = p.lock.take(context.Background())
	defer p.lock.free()
	if p.token == token {
		p.ready = false
	}
}

func (p *plugin) get(ctx context.Context) (string, *tls.Certificate, error) {
	if err := p.lock.take(ctx); err != nil {
		return "", nil, err
	}
	defer p.lock.free()
	if p.ready && (p.until.IsZero() || time.Now().Before(p.until)) {
		return p.token, p.cert, nil
	}
	had := p.cert
	if err := p.run(ctx); err != nil {
		return "", nil, fmt.Errorf("the program %q, which gives the credentials: %w", p.config.Command, err)
	}
	if had != nil {
		p.rotated()
	}
	return p.token, p.cert, nil
}

// run runs the program, with what it needs of the environment and the
// variables that the kubeconfig gives it. What it writes to its standard error
// is not repeated: it may hold secrets.
func (p *plugin) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.config.Command, p.config.Args...)
	cmd.Env = append(environment(), "KUBERNETES_EXEC_INFO="+string(p.info))
	for _, e := range p.config.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out := &bounded{left: pluginOutput}
	cmd.Stdout = out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("it was ended before it gave any: %w", ctx.Err())
	case out.left < 0:
		return fmt.Errorf("it printed more than %d bytes", pluginOutput)
	case err != nil:
		return fmt.Errorf("it failed (%w): run it by hand to see why; it gets PATH, HOME, proxy variables and what stands under exec.env", err)
	}
	return p.take(out.text.Bytes())
}

func (p *plugin) take(raw []byte) error {
	var c auth.ExecCredential
	if err := json.Unmarshal(raw, &c); err != nil || c.Kind != "ExecCredential" || c.Status == nil {
		return errors.New("it printed no ExecCredential with a status")
	}
	if c.APIVersion != p.config.APIVersion {
		return fmt.Errorf("it printed an ExecCredential of %q, the kubeconfig wants %q", c.APIVersion, p.config.APIVersion)
	}
	if c.Status.Token == "" && c.Status.ClientCertificateData == "" {
		return errors.New("it gave neither a token nor a client certificate")
	}
	var cert *tls.Certificate
	if c.Status.ClientCertificateData != "" {
		pair, err := tls.X509KeyPair([]byte(c.Status.ClientCertificateData), []byte(c.Status.ClientKeyData))
		if err != nil {
			return errors.New("it gave a client certificate and key that don't fit each other")
		}
		cert = &pair
	}
	p.token, p.cert, p.until, p.ready = c.Status.Token, cert, time.Time{}, true
	if c.Status.ExpirationTimestamp != nil {
		p.until = c.Status.ExpirationTimestamp.Time
	}
	return nil
}

// environment gives what programs need to run and to reach the network.
func environment() (out []string) {
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// bounded takes so many bytes and then refuses.
type bounded struct {
	text bytes.Buffer
	left int
}

// Write takes what fits.
func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("too much output")
	}
	return b.text.Write(p)
}
