//go:build real

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
)

func admin(t *testing.T) *kube.Cluster {
	t.Helper()
	text, err := os.ReadFile(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, text)
}

func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := server.RunIn(stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

func in(ns, text string) string {
	return strings.ReplaceAll(text, "namespace: default", "namespace: "+ns)
}

func TestRealApplyConflictsAndDeletes(t *testing.T) {
	c, ctx, ns := admin(t), context.Background(), server.Namespace(t)
	m := mapping(t, c, configMap)
	text := in(ns, settings)
	kubectl(t, text, "create", "--field-manager=kubectl-edit", "-f", "-")
	blue := object(t, strings.Replace(text, "red", "blue", 1))
	_, err := c.Apply(ctx, m, blue, kube.ApplyOptions{Manager: "trueup"})
	var conflict *kube.Conflict
	if !errors.As(err, &conflict) || len(conflict.Fields) != 1 || conflict.Fields[0].Field != ".data.color" || !strings.Contains(conflict.Fields[0].Manager, `"kubectl-edit"`) {
		t.Fatalf("%v", err)
	}
	if _, err := c.Apply(ctx, m, blue, kube.ApplyOptions{Manager: "trueup", Force: true, DryRun: true}); err != nil {
		t.Error(err)
	}
	if got := kubectl(t, "", "-n", ns, "get", "configmap", "settings", "-o", "jsonpath={.data.color}"); got != "red" {
		t.Errorf("a dry run wrote %q", got)
	}
	if _, err := c.Apply(ctx, m, blue, kube.ApplyOptions{Manager: "trueup", Force: true}); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, m, ns, "settings", kube.DeleteOptions{UID: "another"}); !errors.Is(err, kube.ErrMoved) {
		t.Errorf("%v", err)
	}
	if err := c.Delete(ctx, m, ns, "settings", kube.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(ctx, m, ns, "settings"); !errors.Is(err, kube.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.Apply(ctx, m, object(t, in("no-such-namespace", settings)), kube.ApplyOptions{Manager: "trueup"}); !errors.Is(err, kube.ErrNotFound) {
		t.Errorf("in a namespace that is not there: %v", err)
	}
}

func TestRealDefinitionIsFoundAtOnce(t *testing.T) {
	c, ctx, ns := admin(t), context.Background(), server.Namespace(t)
	if _, err := c.Mapping(ctx, widget); !errors.Is(err, kube.ErrNoKind) {
		t.Fatalf("before: %v", err)
	}
	kubectl(t, crd, "create", "-f", "-")
	kubectl(t, "", "wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s")
	c.Forget()
	m := mapping(t, c, widget)
	if p, err := c.Preferred(ctx, widget.GroupKind()); err != nil || p.Kind != widget || !m.Status {
		t.Errorf("%+v, %v", p, err)
	}
	u := object(t, "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: "+ns+"}\nspec: {size: 3}")
	if _, err := c.Apply(ctx, m, u, kube.ApplyOptions{Manager: "trueup"}); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "delete", "crd", "widgets.example.com")
	if _, _, err := c.List(ctx, m, ns, metav1.ListOptions{}); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("a kind that is served no more is no empty list: %v", err)
	}
	if _, err := c.Get(ctx, m, ns, "w"); !errors.Is(err, driver.ErrUnreachable) || errors.Is(err, kube.ErrNotFound) {
		t.Errorf("%v", err)
	}
	eventually(t, func() bool { c.Forget(); _, err := c.Mapping(ctx, widget); return errors.Is(err, kube.ErrNoKind) }, "the kind is gone")
}

// An aggregated API whose server is not there.
func TestRealKindsOfAServerThatIsDown(t *testing.T) {
	c, ctx := admin(t), context.Background()
	kubectl(t, `{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.down.example.com"}, "spec": {"group": "down.example.com", "version": "v1",
		"groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "kubernetes", "port": 1}}}`, "create", "-f", "-")
	defer kubectl(t, "", "delete", "apiservice", "v1.down.example.com")
	eventually(t, func() bool {
		c.Forget()
		_, err := c.Preferred(ctx, schema.GroupKind{Group: "down.example.com", Kind: "Thing"})
		return errors.Is(err, driver.ErrUnreachable) && !errors.Is(err, kube.ErrNoKind)
	}, "a kind of a server that is down is unreachable and not unknown")
	mapping(t, c, configMap)
}

func TestRealCredentials(t *testing.T) {
	ctx, ns := context.Background(), server.Namespace(t)
	kubectl(t, "", "-n", ns, "create", "serviceaccount", "deployer")
	token := kubectl(t, "", "-n", ns, "create", "token", "deployer")
	for name, x := range map[string]struct {
		kubeconfig []byte
		want       string
	}{
		"token":                {server.ByToken(t, token), "denied"}, // known, and allowed nothing
		"nonsense":             {server.ByToken(t, "nonsense"), "denied unreachable"},
		"certificate":          {server.ByCertificate(t, "jane", nil, time.Now().Add(time.Hour)), "denied"},
		"expired certificate":  {server.ByCertificate(t, "jane", []string{"system:masters"}, time.Now().Add(-time.Hour)), "denied unreachable"},
		"another authority":    {kubeconfigOf(server.URL, otherCA(t), ""), "unreachable"},
		"nobody there at all":  {kubeconfigOf("https://127.0.0.1:1", server.CA(t), ""), "unreachable"},
		"plain HTTP, no https": {kubeconfigOf(strings.Replace(server.URL, "https", "http", 1), server.CA(t), ""), "unreachable"},
	} {
		c := dial(t, x.kubeconfig)
		m := kube.Mapping{Kind: configMap, Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Namespaced: true}
		if _, err := c.Get(ctx, m, ns, "settings"); meant(err) != x.want && !(name == "plain HTTP, no https" && err != nil) {
			t.Errorf("%s, reading: %q, not %q: %v", name, meant(err), x.want, err)
		}
		if _, err := c.Apply(ctx, m, object(t, in(ns, settings)), kube.ApplyOptions{Manager: "trueup"}); meant(err) != x.want && !(name == "plain HTTP, no https" && err != nil) {
			t.Errorf("%s, writing: %q, not %q: %v", name, meant(err), x.want, err)
		}
	}
	// A token ends with its service account, in the middle of a session.
	c := dial(t, server.ByToken(t, token))
	if _, err := c.Version(ctx); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "-n", ns, "delete", "serviceaccount", "deployer")
	eventually(t, func() bool { _, err := c.UID(ctx); return meant(err) == "denied unreachable" }, "the token is refused")
}

func otherCA(t *testing.T) []byte {
	_, ca := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return ca
}

func TestRealInClusterTokensRotate(t *testing.T) {
	ctx, ns, dir := context.Background(), server.Namespace(t), t.TempDir()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", at.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", at.Port())
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.crt", string(server.CA(t)))
	for _, who := range []string{"one", "two"} {
		kubectl(t, "", "-n", ns, "create", "serviceaccount", who)
		kubectl(t, "", "create", "clusterrolebinding", ns+"-"+who, "--clusterrole=view", "--serviceaccount="+ns+":"+who)
	}
	write("token", kubectl(t, "", "-n", ns, "create", "token", "one")+"\n")
	config, err := kube.Config(kube.Options{Mounted: dir})
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.UID(ctx); err != nil {
		t.Fatal(err)
	}
	write("token", kubectl(t, "", "-n", ns, "create", "token", "two"))
	kubectl(t, "", "-n", ns, "delete", "serviceaccount", "one")
	eventually(t, func() bool { return c.Same(ctx) != nil }, "the old token is refused")
	if err := c.Same(ctx); err != nil {
		t.Errorf("the new token is not taken after the old one was refused: %v", err)
	}
}

func TestRealImpersonationAndWarnings(t *testing.T) {
	c, ctx, ns := admin(t), context.Background(), server.Namespace(t)
	kubectl(t, "", "-n", ns, "create", "serviceaccount", "deployer")
	kubectl(t, "", "-n", ns, "create", "rolebinding", "deployer", "--clusterrole=edit", "--serviceaccount="+ns+":deployer")
	as, err := c.As(rest.ImpersonationConfig{UserName: "system:serviceaccount:" + ns + ":deployer"})
	if err != nil {
		t.Fatal(err)
	}
	m := mapping(t, as, configMap)
	if _, err := as.Apply(ctx, m, object(t, in(ns, settings)), kube.ApplyOptions{Manager: "trueup"}); err != nil {
		t.Error(err)
	}
	if _, err := as.Apply(ctx, m, object(t, settings), kube.ApplyOptions{Manager: "trueup"}); meant(err) != "denied" {
		t.Errorf("in another namespace: %v", err)
	}
	var w kube.Warnings
	endpoints := mapping(t, c, schema.GroupVersionKind{Version: "v1", Kind: "Endpoints"})
	u := object(t, "apiVersion: v1\nkind: Endpoints\nmetadata: {name: e, namespace: "+ns+"}")
	if _, err := c.Apply(w.In(ctx), endpoints, u, kube.ApplyOptions{Manager: "trueup", DryRun: true}); err != nil || len(w.List()) != 1 || !strings.Contains(w.List()[0], "deprecated") {
		t.Errorf("%q, %v", w.List(), err)
	}
}

func TestRealErrorsAboutSecretsDontQuoteThem(t *testing.T) {
	const canary = "c4nary-s3cret"
	c, ctx, ns := admin(t), context.Background(), server.Namespace(t)
	m := mapping(t, c, secretOf)
	for _, text := range []string{
		"data: {key: " + canary + "}", // no base64
		"data: {key: {" + canary + ": 1}}",
		"type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: " + canary + "}",
		"stringData: {\"" + canary + " not a key\": x}",
	} {
		u := object(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: %s}\n%s", ns, text))
		_, err := c.Apply(ctx, m, u, kube.ApplyOptions{Manager: "trueup"})
		var status apierrors.APIStatus
		if !errors.As(err, &status) || strings.Contains(fmt.Sprintf("%v %+v", err, status.Status()), canary) && !strings.Contains(text, "not a key") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestRealListsInPages(t *testing.T) {
	c, ctx, ns := admin(t), context.Background(), server.Namespace(t)
	m := mapping(t, c, configMap)
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			for i := range 60 {
				u := object(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: %s}\n", 60*w+i, ns))
				if _, err := c.Create(ctx, m, u, "test"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	items, version, err := c.ListMeta(ctx, m, ns)
	if err != nil || len(items) != 601 { // with kube-root-ca.crt
		t.Errorf("%d objects, %v", len(items), err)
	}
	w, err := c.WatchMeta(ctx, m, ns, version)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	kubectl(t, "", "-n", ns, "delete", "configmap", "c7")
	if e := <-w.ResultChan(); e.Type != "DELETED" || e.Object.(*metav1.PartialObjectMetadata).Name != "c7" {
		t.Errorf("%+v", e)
	}
}
