package kubernetes_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

func (b *bed) imported(what ...string) driver.Imported {
	b.t.Helper()
	in := b.input()
	im, ok := b.session.(driver.Importer)
	if !ok {
		b.t.Fatal("the session is no Importer")
	}
	got, err := im.Import(b.t.Context(), in, what)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestImport(t *testing.T) {
	b := newBed(t, nil)
	b.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n---\n"+web("2", "1")+"---\n"+balancer+"---\n"+
		strings.Replace(configMap("one", "v1"), "metadata:", "metadata:\n  labels: {app: web}", 1)+"---\n"+configMapIn("lab", "two", "v1")+
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\nstringData: {password: canary-161}\n"+
		"---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: web-1, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: x, controller: true}]}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}\n")
	for name, c := range map[string]struct{ what, want []string }{
		"all":        {want: []string{"lab/configmap-two.yaml", "shop/configmap-one.yaml", "shop/deployment.apps-web.yaml", "shop/service-lb.yaml"}},
		"namespace":  {what: []string{"namespace=lab"}, want: []string{"lab/configmap-two.yaml"}},
		"labels":     {what: []string{"namespace=shop", "labels=app=web"}, want: []string{"shop/configmap-one.yaml"}},
		"kinds":      {what: []string{"kind=Deployment.apps", "kind=Service"}, want: []string{"shop/deployment.apps-web.yaml", "shop/service-lb.yaml"}},
		"namespaces": {what: []string{"kind=Namespace", "namespace=lab"}, want: []string{"namespace-lab.yaml"}},
	} {
		got := b.imported(c.what...)
		names := slices.Sorted(maps.Keys(got.Files))
		names = slices.DeleteFunc(names, func(n string) bool { return strings.Contains(n, "kube-") || strings.Contains(n, "default") })
		if !slices.Equal(names, c.want) {
			t.Errorf("%s: %v, not %v", name, names, c.want)
		}
	}
	got := b.imported("namespace=shop")
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Message, "1 Secrets") {
		t.Errorf("warnings: %v", got.Warnings)
	}
	tree := fstest.MapFS{}
	for n, body := range got.Files {
		for _, s := range []string{"canary", "managedFields", "resourceVersion", "uid", "status", "clusterIP:", "creationTimestamp"} {
			if strings.Contains(string(body), s) {
				t.Errorf("%s holds %s:\n%s", n, s, body)
			}
		}
		tree["app/"+n] = &fstest.MapFile{Data: body}
	}
	in := b.input()
	in.Tree = tree
	p, err := b.session.Plan(t.Context(), in)
	if err != nil || p.Writes() || p.Summary()[plan.Adopt] != 3 {
		t.Errorf("%v\n%s", err, written(p))
	}
	if _, err := b.session.(driver.Importer).Import(t.Context(), in, []string{"nonsense"}); !driver.IsPermanent(err) {
		t.Errorf("nonsense: %v", err)
	}
	if _, err := b.session.(driver.Importer).Import(t.Context(), in, []string{"kind=Nonsense"}); !driver.IsPermanent(err) {
		t.Errorf("an unknown kind: %v", err)
	}
}
