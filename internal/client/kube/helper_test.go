package kube_test

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
)

var (
	configMap = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	secretOf  = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
)

// open connects to a fake as trueup does.
func open(t *testing.T, s *kubefake.Server, change ...func(*kube.Options)) *kube.Cluster {
	t.Helper()
	return dial(t, s.Kubeconfig(), change...)
}

func dial(t *testing.T, kubeconfig []byte, change ...func(*kube.Options)) *kube.Cluster {
	t.Helper()
	o := kube.Options{Kubeconfig: kubeconfig, UserAgent: "trueup/test"}
	for _, f := range change {
		f(&o)
	}
	config, err := kube.Config(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(d time.Duration) func(*kube.Options) { return func(o *kube.Options) { o.Timeout = d } }

func mapping(t *testing.T, c *kube.Cluster, k schema.GroupVersionKind) kube.Mapping {
	t.Helper()
	m, err := c.Mapping(context.Background(), k)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: default}\ndata: {color: red}\n"
