package manifest_test

import (
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

func TestFieldsOfKnownKinds(t *testing.T) {
	text := `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  lables: {a: b}
spec:
  replicas: "3"
  template:
    spec:
      containers:
      - name: c
        imagePullPolice: Always
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web2
spec:
  replcas: 3
  template:
    spec:
      containers:
      - name: c
        imagePullPolice: Always
        ports: [{containerPort: 80, hostPort: (known after x is applied)}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web3
extra: 1
spec:
  replcas: 3
  template:
    spec:
      containers:
      - name: c
        imagePullPolice: Always
---
apiVersion: example.com/v1
kind: Deployment
metadata:
  name: other
spec:
  anything: goes
---
apiVersion: v1
kind: Service
metadata:
  name: s
spec:
  ports: {port: 80}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
data:
  n: 1
---
apiVersion: v1
kind: Secret
metadata: {name: x}
data: {a: b28=, b: "no base64"}
`
	_, found := manifest.Parse("f.yaml", []byte(text))
	var got []string
	for _, d := range found {
		got = append(got, d.Error())
	}
	want := []string{
		`f.yaml:7: spec.replicas: Deployment web: a number was expected, not a string`,
		`f.yaml:31: warning: extra: Deployment web3: Kubernetes 1.37 does not know this field; clusters leave it out`,
		`f.yaml:33: warning: spec.replcas: Deployment web3: Kubernetes 1.37 does not know this field; clusters leave it out`,
		`f.yaml:38: warning: spec.template.spec.containers[0].imagePullPolice: Deployment web3: Kubernetes 1.37 does not know this field; clusters leave it out`,
		`f.yaml:52: spec.ports: Service s: a list was expected, not a mapping`,
		`f.yaml:64: data.b: Secret x: the value is no base64 (write it under stringData, or encode it)`,
		`f.yaml:58: data: ConfigMap c: a string was expected, not a number`,
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Error(strings.Join(got, "\n"))
	}
}
