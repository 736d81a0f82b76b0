package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/client/kube"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: ""}}
- {name: plain, cluster: {server: "http://10.0.0.1:8080"}}
- {name: local, cluster: {server: "http://127.0.0.1:8001"}}
- {name: file, cluster: {server: "https://10.0.0.1", certificate-authority: /etc/ca.crt}}
- {name: none, cluster: {}}
users:
- {name: token, user: {token: t0p-s3cret}}
- {name: exec, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: give-me-a-token, interactiveMode: Never}}}
- {name: provider, user: {auth-provider: {name: gcp}}}
- {name: files, user: {client-certificate: /etc/c.crt, client-key: /etc/c.key}}
- {name: tokenfile, user: {tokenFile: /etc/token}}
contexts:
- {name: one, context: {cluster: c, user: token}}
- {name: local, context: {cluster: local, user: token}}
- {name: plain, context: {cluster: plain, user: token}}
- {name: file, context: {cluster: file, user: token}}
- {name: none, context: {cluster: none, user: token}}
- {name: exec, context: {cluster: c, user: exec}}
- {name: provider, context: {cluster: c, user: provider}}
- {name: files, context: {cluster: c, user: files}}
- {name: tokenfile, context: {cluster: c, user: tokenfile}}
- {name: nobody, context: {cluster: c, user: gone}}
- {name: nowhere, context: {cluster: gone, user: token}}
`

func TestKubeconfigsSayWhatIsWrong(t *testing.T) {
	for context, want := range map[string]string{
		"":          "",
		"one":       "",
		"local":     "",
		"plain":     "in the clear",
		"other":     `no context "other"`,
		"nobody":    `no user "gone"`,
		"nowhere":   `no cluster "gone"`,
		"none":      "names no server",
		"exec":      `runs the program "give-me-a-token"`,
		"provider":  "auth-provider",
		"files":     "names files of this machine",
		"tokenfile": "names files of this machine",
		"file":      "names files of this machine",
	} {
		_, err := kube.Config(kube.Options{Kubeconfig: []byte(kubeconfig), Context: context})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("context %q: %v, expected %q", context, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("context %q: the error shows the token: %v", context, err)
		}
	}
	for _, bad := range []string{"users: [{name: x, user: {token: t0p-s3cret", "{}", "clusters: 5\ntoken: t0p-s3cret"} {
		if _, err := kube.Config(kube.Options{Kubeconfig: []byte(bad)}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	config, err := kube.Config(kube.Options{Kubeconfig: []byte(kubeconfig), Context: "exec", AllowExec: true})
	if err != nil || config.ExecProvider == nil {
		t.Errorf("an allowed program: %v, %v", config, err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := strings.ReplaceAll(kubeconfig, "/etc/token", token)
	if config, err := kube.Config(kube.Options{Kubeconfig: []byte(with), Context: "tokenfile", AllowExec: true}); err != nil || config.BearerTokenFile != token {
		t.Errorf("an allowed file: %v, %v", config, err)
	}
}

func TestInClusterNeedsTheServiceAccount(t *testing.T) {
	dir := t.TempDir()
	o := kube.Options{Mounted: dir}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.Config(o); err == nil || !strings.Contains(err.Error(), "does not run inside a Kubernetes cluster") {
		t.Errorf("outside: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Config(o); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("without an authority: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := kube.Config(o)
	if err != nil || config.Host != "https://10.0.0.1:443" {
		t.Fatalf("%v, %v", config, err)
	}
	t.Setenv("HTTPS_PROXY", "http://10.9.9.9:3128")
	if u, err := config.Proxy(nil); u != nil || err != nil {
		t.Errorf("the way inside the cluster leads over the proxy %v, %v", u, err)
	}
}
