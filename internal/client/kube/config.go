package kube

import (
	"errors"
	"fmt"
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
}

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
	// What a server warns of goes to the user by other ways than a log.
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

func (o Options) base() (*rest.Config, error) {
	if len(o.Kubeconfig) == 0 {
		return rest.InClusterConfig()
	}
	file, err := clientcmd.Load(o.Kubeconfig)
	if err != nil {
		// The library's error may quote the file, which holds secrets.
		return nil, errors.New("the kubeconfig can't be read: it is no valid YAML, or no kubeconfig")
	}
	if err := o.check(file); err != nil {
		return nil, err
	}
	return clientcmd.NewNonInteractiveClientConfig(*file, o.Context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
}

// check refuses what would run programs or read files of this machine.
func (o Options) check(file *clientcmdapi.Config) error {
	name := file.CurrentContext
	if o.Context != "" {
		name = o.Context
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
	if o.AllowExec {
		return nil
	}
	switch {
	case user.Exec != nil:
		return fmt.Errorf("the kubeconfig's user %q runs the program %q for its credentials: set allowExec, or use a token or a client certificate", ctx.AuthInfo, user.Exec.Command)
	case user.AuthProvider != nil:
		return fmt.Errorf("the kubeconfig's user %q has an auth-provider, which Kubernetes has dropped: use a token or a client certificate", ctx.AuthInfo)
	case user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "" || cluster.CertificateAuthority != "":
		return errors.New("the kubeconfig names files of this machine: put their content into it (kubectl config view --flatten --raw), or set allowExec")
	}
	return nil
}
