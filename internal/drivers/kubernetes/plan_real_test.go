//go:build real

package kubernetes_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// field is a target in a namespace of its own on the real server.
type field struct {
	realWorld
	t       *testing.T
	session driver.Session
	spec    kubernetes.Spec
	owned   driver.Inventory
}

func newField(t *testing.T, change func(*kubernetes.Connect)) *field {
	t.Helper()
	ns := cluster.Namespace(t)
	f := &field{realWorld: realWorld{t, ns}, t: t, owned: driver.Inventory{}, spec: kubernetes.Spec{Spec: render.Spec{Namespace: ns}}}
	var err error
	if f.session, err = kubernetes.New().Open(t.Context(), environment(kubeconfig(t), change), driver.Write); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.session.Close() })
	return f
}

func (f *field) input(docs ...string) driver.Input {
	return driver.Input{Target: f.namespace, Tree: fstest.MapFS{"app/all.yaml": {Data: []byte(strings.Join(docs, "\n---\n"))}}, Path: "app",
		Spec: &f.spec, Scope: &kubernetes.Scope{}, Mode: plan.Apply, Now: time.Now(), Inventory: maps.Clone(f.owned)}
}

func (f *field) plan(docs ...string) *plan.Plan {
	f.t.Helper()
	p, err := f.session.Plan(f.t.Context(), f.input(docs...))
	if err != nil {
		f.t.Fatal(err)
	}
	if u := p.UnknownScopes(); len(u) > 0 {
		f.t.Fatalf("unknown: %s", u[0].Unknown)
	}
	return p
}

func (f *field) apply(p *plan.Plan, docs ...string) ([]plan.Result, error) {
	f.t.Helper()
	j := drivertest.NewJournal(f.owned, p)
	err := f.session.Apply(f.t.Context(), f.input(docs...), approved(p), j)
	f.owned = j.Inventory()
	return j.Results(), err
}

// sync plans, applies, and expects that nothing is left, neither as the session
// remembers it nor by dry runs of everything.
func (f *field) sync(docs ...string) *plan.Plan {
	f.t.Helper()
	p := f.plan(docs...)
	res, err := f.apply(p, docs...)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, r := range res {
		if r.Outcome != plan.Applied {
			f.t.Fatalf("%s is %s: %s", r.Key, r.Outcome, r.Error)
		}
	}
	if left := f.plan(docs...); !left.Empty() {
		f.t.Fatalf("after the apply there is still to do:\n%s", written(left))
	}
	fresh := *f
	if fresh.session, err = kubernetes.New().Open(f.t.Context(), environment(kubeconfig(f.t), nil), driver.Read); err != nil {
		f.t.Fatal(err)
	}
	defer fresh.session.Close()
	if left := fresh.plan(docs...); !left.Empty() {
		f.t.Fatalf("a fresh session finds still to do:\n%s", written(left))
	}
	return p
}

func (f *field) get(kind, name, path string) string {
	f.t.Helper()
	return f.kubectl(f.t, "", "get", kind, name, "-o", "jsonpath="+path)
}

// manyKinds has kinds whose fields the server defaults, rounds, adds and
// fills in.
const manyKinds = `apiVersion: v1
kind: ServiceAccount
metadata: {name: api, creationTimestamp: null}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {note: "1"}}
data: {a: "1", empty: ""}
binaryData: {b: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
type: Opaque
stringData: {password: hunter2}
data: {other: aHVudGVyMw==}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  type: NodePort
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, labels: {app: api}}
spec:
  replicas: 1
  selector: {matchLabels: {app: api}}
  template:
    metadata: {creationTimestamp: null, labels: {app: api}}
    spec:
      serviceAccountName: api
      volumes: [{name: tmp, emptyDir: {}}, {name: settings, configMap: {name: settings}}]
      containers:
        - name: c
          image: example.test/c:1
          ports: [{containerPort: 8080}]
          env: [{name: A, value: "1"}, {name: B, valueFrom: {secretKeyRef: {name: keys, key: password}}}]
          resources: {requests: {cpu: 1000m, memory: 0.5Gi}, limits: {cpu: "1", memory: 1024Mi}}
          livenessProbe: {httpGet: {path: /, port: 8080}}
          volumeMounts: [{name: tmp, mountPath: /tmp}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: other}
spec:
  minReplicas: 1
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nobody}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: api}
spec: {minAvailable: 50%, selector: {matchLabels: {app: api}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: api}
spec: {rules: [{host: api.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {name: http}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: none}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: api}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: api}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: api}
subjects: [{kind: ServiceAccount, name: api, namespace: default}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c:1}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c:1}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: api
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: example.test/c:1}]}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: q}
spec: {hard: {requests.cpu: "100", pods: "100"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: l}
spec: {limits: [{type: Container, defaultRequest: {cpu: 100m}}]}
`

// TestNoFalseDifferences: what the server defaults, rounds and adds is none.
func TestNoFalseDifferences(t *testing.T) {
	f := newField(t, nil)
	f.sync(manyKinds)
	f.kubectl(t, "", "rollout", "status", "deployment/api", "--timeout=60s")
	if p := f.plan(manyKinds); !p.Empty() {
		t.Errorf("once it runs there is something to do:\n%s", written(p))
	}
	if got := f.get("secret", "keys", "{.data.password}"); got != "aHVudGVyMg==" {
		t.Errorf("the password is %s", got)
	}
	// A key that leaves stringData goes.
	f.sync(strings.Replace(manyKinds, "stringData: {password: hunter2}\n", "", 1))
	if got := f.get("secret", "keys", "{.data.password}"); got != "" {
		t.Errorf("the password is still %s", got)
	}
}

// TestOneFieldShowsAlone, among all that the server added.
func TestOneFieldShowsAlone(t *testing.T) {
	f := newField(t, nil)
	f.sync(manyKinds)
	next := strings.Replace(manyKinds, "image: example.test/c:1\n          ports", "image: example.test/c:2\n          ports", 1)
	p := f.plan(next)
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Update {
		t.Fatalf("%s", written(p))
	}
	var before, after map[string]any
	if err := json.Unmarshal(p.Changes[0].Before, &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(p.Changes[0].After, &after); err != nil {
		t.Fatal(err)
	}
	diffs := differences("", before, after)
	if len(diffs) != 1 || diffs[0] != "/spec/template/spec/containers/0/image" {
		t.Errorf("%v\n%s\n%s", diffs, p.Changes[0].Before, p.Changes[0].After)
	}
	for _, s := range []string{"managedFields", "terminationMessagePath", "resourceVersion", "status", "uid"} {
		if strings.Contains(string(p.Changes[0].Before), s) {
			t.Errorf("%s shows", s)
		}
	}
	f.sync(next)
}

func differences(at string, a, b any) []string {
	x, ok := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	if ok && ok2 {
		var out []string
		for k := range x {
			out = append(out, differences(at+"/"+k, x[k], y[k])...)
		}
		for k := range y {
			if _, both := x[k]; !both {
				out = append(out, at+"/"+k)
			}
		}
		return out
	}
	l, ok := a.([]any)
	m, ok2 := b.([]any)
	if ok && ok2 && len(l) == len(m) {
		var out []string
		for i := range l {
			out = append(out, differences(at+"/"+string(rune('0'+i)), l[i], m[i])...)
		}
		return out
	}
	if p, _ := json.Marshal(a); string(p) != string(must(json.Marshal(b))) {
		return []string{at}
	}
	return nil
}

func must(b []byte, _ error) []byte { return b }

// TestImmutableFieldsAreReplaces on a real server, whatever the kind calls
// them.
func TestImmutableFieldsAreReplaces(t *testing.T) {
	fixed := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\nimmutable: true\ndata: {a: \"1\"}\n"
	f := newField(t, nil)
	f.sync(manyKinds, fixed)
	for name, c := range map[string]struct {
		address, from, to string
	}{
		"selector":  {"Deployment.apps/%/api", "selector: {matchLabels: {app: api}}\n  template:\n    metadata: {creationTimestamp: null, labels: {app: api}}", "selector: {matchLabels: {app: x}}\n  template:\n    metadata: {creationTimestamp: null, labels: {app: x}}"},
		"job":       {"Job.batch/%/once", "kind: Job\nmetadata: {name: once}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c:1}", "kind: Job\nmetadata: {name: once}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.test/c:2}"},
		"roleRef":   {"RoleBinding.rbac.authorization.k8s.io/%/api", "kind: Role, name: api}", "kind: Role, name: other}"},
		"type":      {"Secret/%/keys", "type: Opaque", "type: example.com/other"},
		"immutable": {"ConfigMap/%/fixed", `data: {a: "1"}`, `data: {a: "2"}`},
		"claim":     {"PersistentVolumeClaim/%/data", "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}", "accessModes: [ReadWriteMany], resources: {requests: {storage: 1024Mi}}"},
		"stateful":  {"StatefulSet.apps/%/db", "serviceName: api", "serviceName: other"},
	} {
		docs := manyKinds + "\n---\n" + fixed
		next := strings.Replace(docs, c.from, c.to, 1)
		if c.address == "ConfigMap/%/fixed" {
			next = manyKinds + "\n---\n" + strings.Replace(fixed, c.from, c.to, 1)
		}
		if next == docs {
			t.Fatalf("%s: nothing was replaced", name)
		}
		p := f.plan(next)
		want := plan.Address(strings.Replace(c.address, "%", f.namespace, 1))
		if len(p.Changes) != 1 || p.Changes[0].Address != want || p.Changes[0].Action != plan.Replace || p.Changes[0].Conflict == "" {
			t.Errorf("%s:\n%s", name, written(p))
		}
	}
	f.sync(strings.Replace(manyKinds, "kind: Role, name: api}", "kind: Role, name: other}", 1))
	if got := f.get("rolebinding", "api", "{.roleRef.name}"); got != "other" {
		t.Errorf("the role is %s", got)
	}
}

// TestAutoscalersKeepTheirField: the field that Git leaves out is theirs, and
// one that both have is held.
func TestAutoscalersKeepTheirField(t *testing.T) {
	f := newField(t, nil)
	with := deploymentIn(f.namespace, "replicas: 1")
	f.sync(with)
	f.kubectl(t, "", "scale", "deployment/web", "--replicas=2")
	c := f.plan(with).Changes
	if len(c) != 1 || c[0].Reason != plan.ByDrift {
		t.Fatalf("%+v", c)
	}
	f.sync(deploymentIn(f.namespace, ""))
	f.kubectl(t, "", "scale", "deployment/web", "--replicas=3")
	if p := f.plan(deploymentIn(f.namespace, "")); !p.Empty() {
		t.Errorf("%s", written(p))
	}
	f.sync(strings.Replace(deploymentIn(f.namespace, ""), "c:1", "c:2", 1))
	if got := f.get("deployment", "web", "{.spec.replicas}"); got != "3" {
		t.Errorf("%s replicas", got)
	}
}

func deploymentIn(ns, more string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ` + ns + `}
spec:
  selector: {matchLabels: {app: web}}
  ` + more + `
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "example.test/c:1"}]}
`
}
