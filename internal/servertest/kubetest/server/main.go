// The control plane of Kubernetes in one process, for tests: etcd, the real
// kube-apiserver, kube-controller-manager and kube-scheduler, and nodes that
// are played. It writes DIR/kubeconfig when it is ready, and can be started
// again on the same directory and port.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// settings are the command line.
type settings struct {
	dir     string
	port    int
	apiOnly bool
	kcmArgs string
	nodes   int
}

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", "", "state directory (required)")
	flag.IntVar(&s.port, "port", 0, "port of the API server on 127.0.0.1 (required)")
	flag.BoolVar(&s.apiOnly, "api-only", false, "no controllers, scheduler or nodes")
	flag.StringVar(&s.kcmArgs, "kcm-args", "", "more flags for kube-controller-manager, split at spaces")
	flag.IntVar(&s.nodes, "nodes", 2, "played nodes; 0 is no scheduler either")
	klog.InitFlags(nil)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		must(flag.Set(name, value))
	}
	flag.Parse()
	if s.dir == "" || s.port == 0 {
		fmt.Fprintln(os.Stderr, "-dir and -port are required")
		os.Exit(2)
	}
	must(os.MkdirAll(s.dir, 0o700))
	must(flag.Set("log_file", filepath.Join(s.dir, "kube.log")))
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	must(s.run(ctx))
}

// run starts everything, says READY, and stops it when ctx ends. Arguments
// behind "--" go to kube-apiserver.
func (s settings) run(ctx context.Context) error {
	started := time.Now()
	p, err := openPKI(filepath.Join(s.dir, "pki"))
	if err != nil {
		return err
	}
	etcd, stop, err := startEtcd(s.dir)
	if err != nil {
		return err
	}
	defer stop()
	api := make(chan error, 1)
	apiCtx, apiStop := context.WithCancel(context.Background())
	defer apiStop()
	go func() { api <- runAPIServer(apiCtx, p, etcd, s.port, flag.Args()...) }()
	url := fmt.Sprintf("https://127.0.0.1:%d", s.port)
	if err := awaitReady(url+"/readyz", api); err != nil {
		return err
	}
	admin := filepath.Join(s.dir, "admin.kubeconfig")
	if err := p.kubeconfig(admin, url, "admin", "system:masters"); err != nil {
		return err
	}
	if !s.apiOnly {
		if err := s.controllers(ctx, p, url, admin); err != nil {
			return err
		}
	}
	if err := os.Rename(admin, filepath.Join(s.dir, "kubeconfig")); err != nil {
		return err
	}
	fmt.Printf("READY %v\n", time.Since(started).Round(time.Millisecond))
	select {
	case <-ctx.Done():
	case err := <-api:
		return err
	}
	apiStop()
	select {
	case <-api:
	case <-time.After(5 * time.Second):
	}
	return nil
}

// controllers starts the controllers, the scheduler and the nodes, and waits
// until the controllers have made the default service account.
func (s settings) controllers(ctx context.Context, p *pki, url, admin string) error {
	kcm := filepath.Join(s.dir, "kcm.kubeconfig")
	// One identity for all controllers keeps the test server simple.
	if err := p.kubeconfig(kcm, url, "system:kube-controller-manager", "system:masters"); err != nil {
		return err
	}
	go vital("kube-controller-manager", func() error { return runControllers(ctx, p, kcm, strings.Fields(s.kcmArgs)...) })
	rc, err := clientcmd.BuildConfigFromFlags("", admin)
	if err != nil {
		return err
	}
	if s.nodes > 0 {
		sched := filepath.Join(s.dir, "sched.kubeconfig")
		if err := p.kubeconfig(sched, url, "system:kube-scheduler"); err != nil {
			return err
		}
		go vital("nodes", func() error { return playNodes(ctx, rc, s.nodes) })
		go vital("kube-scheduler", func() error { return runScheduler(ctx, sched) })
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return err
	}
	for {
		if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func awaitReady(url string, failed <-chan error) error {
	// The certificate is of this process' own making.
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for {
		if r, err := client.Get(url); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-failed:
			return fmt.Errorf("kube-apiserver: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// vital ends the process when one of its parts fails.
func vital(name string, f func() error) {
	if err := f(); err != nil {
		must(fmt.Errorf("%s: %w", name, err))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
