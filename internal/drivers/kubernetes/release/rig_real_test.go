//go:build real

package release_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/helm"
	"trueup.dev/trueup/internal/servertest/kubetest"
)

var cluster *kubetest.Cluster

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "release")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if cluster, err = kubetest.StartIn(dir); err != nil {
			panic(err)
		}
		defer cluster.Stop()
		return m.Run()
	}())
}

// rig is one release in a namespace of its own, seen by the client and by the
// helm program.
type rig struct {
	testing.TB
	ns      string
	cluster *kube.Cluster
	client  *release.Client
	r       *release.Release
	helm    *helm.Helm
	files   map[string]string
	values  map[string]any
	// from and outputs are values of other targets.
	from    map[string]string
	outputs map[string]plan.Output
	lookup  bool

	mu  sync.Mutex
	log []string
}

const chartYAML = "apiVersion: v2\nname: shop\nversion: 1.0.0\nappVersion: \"7\"\n"

// configMap is a template with one value.
func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}

func newRig(t testing.TB, files map[string]string) *rig {
	t.Helper()
	text, err := os.ReadFile(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := kube.Config(kube.Options{Kubeconfig: text})
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{TB: t, ns: cluster.Namespace(t), cluster: c, client: release.New(c), helm: helm.For(t, cluster.Kubeconfig), files: maps.Clone(files)}
	if g.files["Chart.yaml"] == "" {
		g.files["Chart.yaml"] = chartYAML
	}
	g.r = &release.Release{Name: "shop", Namespace: g.ns, Render: g.render}
	return g
}

// render renders the chart, in the child that the test binary is as well.
func (g *rig) render(ctx context.Context, caps render.Capabilities, at ...render.Moment) (*render.Result, error) {
	tree := fstest.MapFS{}
	for n, text := range g.files {
		tree["chart/"+n] = &fstest.MapFile{Data: []byte(text)}
	}
	in := render.Input{Tree: tree, Path: "chart", Capabilities: caps, Values: g.outputs, Release: &render.Seen{Moments: at, Now: time.Now()},
		Spec: render.Spec{Namespace: g.ns, Helm: &render.HelmSpec{Mode: render.Release, ReleaseName: "shop", Values: g.values, ValuesFrom: g.from}}}
	if g.lookup {
		in.Release.Lookup = g.client.Lookup
	}
	res, err := render.Render(ctx, in)
	if err != nil {
		return nil, err
	}
	return res, res.Diagnostics.Err()
}

// dir writes the chart to a directory, for the helm program.
func (g *rig) dir() string {
	g.Helper()
	dir := g.TempDir()
	for n, text := range g.files {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			g.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			g.Fatal(err)
		}
	}
	return dir
}

func (g *rig) logf(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = append(g.log, fmt.Sprintf(format, args...))
}

func (g *rig) logged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.log, "\n")
}

func (g *rig) records() *release.Records {
	g.Helper()
	rec, err := g.client.Records(g.Context(), g.r)
	if err != nil {
		g.Fatal(err)
	}
	return rec
}

// tried is what the release should be, or why that can't be told.
func (g *rig) tried() (*release.Wanted, error) {
	g.Helper()
	version, err := g.cluster.Version(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	caps := render.Capabilities{KubeVersion: version}
	kinds, _, err := g.cluster.Served(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	for _, k := range kinds {
		caps.APIVersions = append(caps.APIVersions, k.GroupVersion().String(), k.GroupVersion().String()+"/"+k.Kind)
	}
	return g.client.Resolve(g.Context(), g.r, g.records(), caps)
}

func (g *rig) resolve() *release.Wanted {
	g.Helper()
	w, err := g.tried()
	if err != nil {
		g.Fatal(err)
	}
	return w
}

func (g *rig) order() release.Order {
	return release.Order{Description: "by trueup", Logf: g.logf}
}

func (g *rig) deploy() error {
	w, err := g.tried()
	if err != nil {
		return err
	}
	return g.client.Deploy(g.Context(), g.r, g.records(), w, g.order())
}

func (g *rig) mustDeploy() {
	g.Helper()
	if err := g.deploy(); err != nil {
		g.Fatalf("%v\n%s", err, g.logged())
	}
}

func (g *rig) kubectl(args ...string) string {
	g.Helper()
	return strings.TrimSpace(cluster.Kubectl(g, append([]string{"-n", g.ns}, args...)...))
}

// history is the helm program's view: revision and status, the oldest first.
func (g *rig) history() string {
	g.Helper()
	out, err := g.helm.Try("-n", g.ns, "history", "shop", "-o", "json")
	if err != nil {
		return ""
	}
	var revisions []struct {
		Revision int
		Status   string
	}
	if err := json.Unmarshal([]byte(out), &revisions); err != nil {
		g.Fatal(err)
	}
	var list []string
	for _, r := range revisions {
		list = append(list, fmt.Sprintf("%d %s", r.Revision, r.Status))
	}
	return strings.Join(list, ", ")
}

// setStatus leaves a revision as a process does that was killed.
func (g *rig) setStatus(revision int, status string) {
	g.Helper()
	name := fmt.Sprintf("sh.helm.release.v1.shop.v%d", revision)
	packed := g.kubectl("get", "secret", name, "-o", "jsonpath={.data.release}")
	text := unpack(g, packed)
	was := `"status":"deployed"`
	if !strings.Contains(text, was) {
		g.Fatalf("revision %d is not deployed:\n%s", revision, text)
	}
	text = strings.Replace(text, was, `"status":"`+status+`"`, 1)
	patch := fmt.Sprintf(`{"metadata":{"labels":{"status":%q}},"data":{"release":%q}}`, status, pack(g, text))
	g.kubectl("patch", "secret", name, "--type=merge", "-p", patch)
}

// unpack and pack are Helm's form of a record, in that of a Secret.
func unpack(t testing.TB, data string) string {
	t.Helper()
	outer, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := base64.StdEncoding.DecodeString(string(outer))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(inner))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pack(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(b.Bytes())))
}
