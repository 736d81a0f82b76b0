package kubernetes_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes"
)

const balancer = `apiVersion: v1
kind: Service
metadata: {name: lb, namespace: shop}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}
`

func TestOutputs(t *testing.T) {
	b := newBed(t, nil)
	b.Settle(nil)
	b.spec.Outputs = map[string]kubernetes.Output{
		"ip":       {Object: "Service/shop/lb", Path: "/status/loadBalancer/ingress/0/ip"},
		"port":     {Object: "Service/shop/lb", Path: "/spec/ports/0/port"},
		"password": {Object: "Secret/shop/one", Path: "/data/password"},
		"foreign":  {Object: "Secret/kube-system/token", Path: "/data/token"},
	}
	b.Set("kubectl", "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: kube-system}\nstringData: {token: theirs}\n")
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: one, namespace: shop}\nstringData: {password: hunter2}\n"
	p := b.sync(balancer, secret)
	for n, o := range p.Outputs {
		if !o.Unknown {
			t.Errorf("%s is known before its object is there: %s", n, o.Value)
		}
	}
	p = b.plan(balancer, secret)
	if o := p.Outputs["ip"]; !o.Unknown || p.NextDue.IsZero() {
		t.Errorf("an address that is not there yet: %+v, next at %s", o, p.NextDue)
	}
	if o := p.Outputs["port"]; string(o.Value) != "80" || o.Sensitive {
		t.Errorf("port: %s", o.Value)
	}
	if o := p.Outputs["password"]; string(o.Value) != `"hunter2"` || !o.Sensitive {
		t.Errorf("password: sensitive %v", o.Sensitive)
	}
	if o := p.Outputs["foreign"]; !o.Unknown || len(p.Warnings) != 1 {
		t.Errorf("another's secret: %s, %v", o.Value, p.Warnings)
	}
	b.Edit("cloud", "v1", "Service", "shop", "lb", "status", func(u *unstructured.Unstructured) {
		_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"ip": "192.0.2.7"}}, "status", "loadBalancer", "ingress")
	})
	p = b.plan(balancer, secret)
	if o := p.Outputs["ip"]; string(o.Value) != `"192.0.2.7"` || !p.NextDue.IsZero() || !p.Empty() {
		t.Errorf("ip: %s, next at %s", o.Value, p.NextDue)
	}
}
