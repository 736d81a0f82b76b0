// Package manifests gives tests charts and manifests that people really run:
// those that lie in Go modules of well-known projects. The go command brings
// the modules, and checks them against the hashes here.
package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Module is a version of a Go module, with its hash.
type Module struct{ Path, Version, Sum string }

// Set is one chart, kustomization or directory of files.
type Set struct {
	Name   string
	Module Module
	// Dir is the directory in the module, Format how it is rendered: plain, helm
	// or kustomize.
	Dir, Format string
	// Namespace is where its objects go that name none.
	Namespace string
	// Values are those of a chart.
	Values map[string]any
	// Include names files of a plain set; empty is all.
	Include []string
	// Needs names the set whose definitions this one's objects need.
	Needs string
}

// The modules.
var (
	gatewayAPI      = Module{"sigs.k8s.io/gateway-api", "v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc="}
	metricsServer   = Module{"sigs.k8s.io/metrics-server", "v0.9.0", "h1:nlqqZ2H0Xfko8eJC/1qaNVVT17hu4rxndkOi22KTZ4w="}
	kueue           = Module{"sigs.k8s.io/kueue", "v0.17.0", "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I="}
	externalDNS     = Module{"sigs.k8s.io/external-dns", "v0.19.0", "h1:fyH3AN/WmOrbuAVYgtHPK4UhkNy9DR3gXMU65yQxuzQ="}
	jobset          = Module{"sigs.k8s.io/jobset", "v0.10.1", "h1:u8QKifNsrWVrlRFe6w2ofYTqFT9ma2DRHxfeB2m9xyU="}
	nodeFeatures    = Module{"sigs.k8s.io/node-feature-discovery", "v0.18.3", "h1:q5/qpyxrasI/F6838lflFNGAUszpMNRuFwornPLYdxQ="}
	clusterAPI      = Module{"sigs.k8s.io/cluster-api", "v1.11.2", "h1:uAczaBavU5Y6aDgyoXWtq28k1kalpSZnVItwXHusw1c="}
	externalSecrets = Module{"github.com/external-secrets/external-secrets", "v0.16.2", "h1:iNY+gIgSyL5higXTfnz+hdPCaiB/43UiHLqE7HBpj68="}
	cloudAWS        = Module{"k8s.io/cloud-provider-aws", "v1.37.1", "h1:JAMF2Wp+/1Oeu/nonQAemEwSCQoW6mXlt273yyTM3dc="}
	certManager     = Module{"github.com/cert-manager/cert-manager", "v1.19.1", "h1:Txh8L/nLWTDcb7ZnXuXbTe15BxQnLbLirXmbNk0fGgY="}
	istio           = Module{"istio.io/istio", "v0.0.0-20260827124520-eed52ebb66ad", "h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI="}
	kubernetes      = Module{"k8s.io/kubernetes", "v1.37.2", "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="}
)

// All lists the sets.
var All = []Set{
	{Name: "gateway-api", Module: gatewayAPI, Dir: "config/crd", Format: "kustomize"},
	{Name: "metrics-server-chart", Module: metricsServer, Dir: "charts/metrics-server", Format: "helm", Namespace: "kube-system"},
	{Name: "metrics-server", Module: metricsServer, Dir: "manifests/overlays/release-ha", Format: "kustomize"},
	{Name: "kueue-chart", Module: kueue, Dir: "charts/kueue", Format: "helm", Namespace: "kueue-system"},
	{Name: "kueue", Module: kueue, Dir: "config/default", Format: "kustomize"},
	{Name: "external-dns-chart", Module: externalDNS, Dir: "charts/external-dns", Format: "helm", Namespace: "dns"},
	{Name: "external-dns", Module: externalDNS, Dir: "kustomize", Format: "kustomize", Namespace: "dns"},
	{Name: "jobset-chart", Module: jobset, Dir: "charts/jobset", Format: "helm", Namespace: "jobset-system"},
	{Name: "jobset", Module: jobset, Dir: "config/default", Format: "kustomize"},
	{Name: "node-feature-discovery-chart", Module: nodeFeatures, Dir: "deployment/helm/node-feature-discovery", Format: "helm", Namespace: "nfd"},
	{Name: "node-feature-discovery", Module: nodeFeatures, Dir: "deployment/overlays/default", Format: "kustomize"},
	{Name: "cluster-api", Module: clusterAPI, Dir: "config/default", Format: "kustomize", Needs: "cert-manager"},
	{Name: "external-secrets", Module: externalSecrets, Dir: "deploy/crds", Format: "plain"},
	{Name: "cloud-provider-aws-chart", Module: cloudAWS, Dir: "charts/aws-cloud-controller-manager", Format: "helm", Namespace: "kube-system"},
	{Name: "cloud-provider-aws", Module: cloudAWS, Dir: "examples/existing-cluster/base", Format: "kustomize"},
	{Name: "cert-manager", Module: certManager, Dir: "deploy/crds", Format: "plain"},
	{Name: "istio-base-chart", Module: istio, Dir: "manifests/charts/base", Format: "helm", Namespace: "istio-system"},
	{Name: "istiod-chart", Module: istio, Dir: "manifests/charts/istio-control/istio-discovery", Format: "helm", Namespace: "istio-system", Needs: "istio-base-chart"},
	{Name: "istio-gateway-chart", Module: istio, Dir: "manifests/charts/gateway", Format: "helm", Namespace: "istio-ingress"},
	{Name: "istio-bookinfo", Module: istio, Dir: "samples/bookinfo/platform/kube", Format: "plain", Namespace: "bookinfo", Include: []string{"bookinfo.yaml"}},
	{Name: "kubernetes-volume-snapshots", Module: kubernetes, Dir: "cluster/addons/volumesnapshots", Format: "plain"},
	{Name: "kubernetes-stateful-set", Module: kubernetes, Dir: "test/e2e/testing-manifests/statefulset/cockroachdb", Format: "plain", Namespace: "cockroach"},
}

// Get finds a set by its name.
func Get(name string) (Set, bool) {
	for _, s := range All {
		if s.Name == name {
			return s, true
		}
	}
	return Set{}, false
}

var (
	mu   sync.Mutex
	dirs = map[Module]string{}
)

// Root gives the directory of a set's module, in the cache of the go command.
// What lies there must not be changed.
func (s Set) Root() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	if dir := dirs[s.Module]; dir != "" {
		return dir, nil
	}
	dir, err := s.Module.download()
	if err == nil {
		dirs[s.Module] = dir
	}
	return dir, err
}

// Path gives the set's own directory.
func (s Set) Path() (string, error) {
	root, err := s.Root()
	return filepath.Join(root, filepath.FromSlash(s.Dir)), err
}

func (m Module) download() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", m.Path+"@"+m.Version)
	cmd.Dir = os.TempDir() // no go.mod has a say
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", m.Path, m.Version, errors.Join(err, jsonErr))
	}
	switch {
	case got.Error != "":
		return "", fmt.Errorf("go mod download %s@%s: %s", m.Path, m.Version, got.Error)
	case got.Sum != m.Sum:
		return "", fmt.Errorf("%s@%s has the hash %s, and %s was expected", m.Path, m.Version, got.Sum, m.Sum)
	}
	return got.Dir, err
}
