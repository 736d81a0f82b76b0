package kube

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Options say how to reach an API server.
type Options struct {
	// Kubeconfig is the text of a kubeconfig; empty means from inside the
	// cluster, by the service account's token.
	Kubeconfig []byte
	Context    string // in the kubeconfig; "" is its current one
	// AllowExec allows the kubeconfig to name programs that give credentials
	// and files on this machine.
	AllowExec bool
	Timeout   time.Duration // of a request; 0 is DefaultTimeout
	// QPS and Burst limit the requests; a QPS of 0 or below leaves that to the
	// server's own priority and fairness.
	QPS       float32
	Burst     int
	UserAgent string
	// Mounted is where Kubernetes mounts the service account's token and
	// authority; "" is its usual place.
	Mounted string
}

// mounted is where pods find their service account.
//
// Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const mounted = "/var/run/secrets/kubernetes.io/serviceaccount"

// Config makes a client configuration. Nothing is connected to.
func Config(o Options) (*rest.Config, error) {
	config, err := o.base()
	if err != nil {
		return nil, err
	}
	config.Timeout = DefaultTimeout
	if o.Timeout > 0 {
		config.Timeout = o.Timeout
	}
	config.QPS, config.Burst = o.QPS, o.Burst
	if o.QPS <= 0 {
		config.QPS = -1
	}
	config.UserAgent = o.UserAgent
	config.WarningHandlerWithContext = collector{}
	return config, nil
}

func (o Options) base() (*rest.Config, error) {
	if len(o.Kubeconfig) == 0 {
		return o.inCluster()
	}
	if len(o.Kubeconfig) > 1<<20 {
		return nil, errors.New("the kubeconfig is larger than 1 MiB")
	}
	file, err := clientcmd.Load(o.Kubeconfig)
	if err != nil {
		// The library's error may quote the file, which holds secrets.
		return nil, errors.New("the kubeconfig can't be read: it is no valid YAML, or no kubeconfig")
	}
	if err := o.check(file); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*file, o.Context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig can't be used: %w", err)
	}
	return config, nil
}

// inCluster is the configuration of a pod. It goes to the API server directly,
// whatever proxies the environment names: they are for the world outside.
func (o Options) inCluster() (*rest.Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("trueup does not run inside a Kubernetes cluster (KUBERNETES_SERVICE_HOST is not set): give a kubeconfig")
	}
	dir := o.Mounted
	if dir == "" {
		dir = mounted
	}
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	for _, f := range []string{token, ca} {
		if _, err := os.ReadFile(f); err != nil {
			return nil, fmt.Errorf("the service account's files: %w: is automountServiceAccountToken off?", err)
		}
	}
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		BearerTokenFile: token, // not read once alone: Kubernetes renews it
		TLSClientConfig: rest.TLSClientConfig{CAFile: ca},
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
	}, nil
}

// check refuses what would run programs or read files of this machine.
func (o Options) check(file *clientcmdapi.Config) error {
	name := file.CurrentContext
	if o.Context != "" {
		name = o.Context
	}
	if name == "" {
		return errors.New("the kubeconfig has no current-context: name one with context")
	}
	ctx := file.Contexts[name]
	if ctx == nil {
		return fmt.Errorf("the kubeconfig has no context %q", name)
	}
	cluster, user := file.Clusters[ctx.Cluster], file.AuthInfos[ctx.AuthInfo]
	if cluster == nil {
		return fmt.Errorf("the kubeconfig has no cluster %q, which its context %q names", ctx.Cluster, name)
	}
	if user == nil {
		return fmt.Errorf("the kubeconfig has no user %q, which its context %q names", ctx.AuthInfo, name)
	}
	if err := checkServer(ctx.Cluster, cluster.Server); err != nil {
		return err
	}
	if user.AuthProvider != nil {
		return fmt.Errorf("the kubeconfig's user %q has an auth-provider, which Kubernetes has dropped: use a token or a client certificate", ctx.AuthInfo)
	}
	switch {
	case o.AllowExec:
	case user.Exec != nil:
		return fmt.Errorf("the kubeconfig's user %q runs the program %q for its credentials: set allowExec, or use a token or a client certificate", ctx.AuthInfo, user.Exec.Command)
	case user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "" || cluster.CertificateAuthority != "":
		return errors.New("the kubeconfig names files of this machine: put their content into it (kubectl config view --flatten --raw), or set allowExec")
	}
	return nil
}

// checkServer refuses servers to which credentials would go in the clear.
func checkServer(name, server string) error {
	u, err := url.Parse(server)
	if server == "" || err != nil {
		return fmt.Errorf("the kubeconfig's cluster %q names no server", name)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the kubeconfig's cluster %q has the server %s: credentials would be sent in the clear, use https", name, u.Host)
	}
	return nil
}
