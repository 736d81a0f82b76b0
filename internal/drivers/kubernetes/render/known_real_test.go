//go:build real

package render_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/servertest/built"
	"trueup.dev/trueup/internal/servertest/manifests"
)

// TestKnownChartsAndKustomizations renders what people really run: the same
// each time, without a mistake, and the same objects as helm and kubectl make.
func TestKnownChartsAndKustomizations(t *testing.T) {
	for _, set := range manifests.All {
		t.Run(set.Name, func(t *testing.T) {
			root, err := set.Root()
			if err != nil {
				t.Fatal(err)
			}
			in := render.Input{Tree: os.DirFS(root), Path: set.Dir, Spec: render.Spec{Render: render.Format(set.Format), Namespace: set.Namespace, Include: set.Include}}
			if set.Format == "helm" {
				in.Spec.Helm = &render.HelmSpec{ReleaseName: "known", Values: set.Values}
			}
			res, _ := rendered(t, in)
			for _, d := range res.Diagnostics {
				t.Log(d.Error())
			}
			if res.Diagnostics.Err() != nil || len(res.Objects) == 0 {
				t.Fatalf("%d objects", len(res.Objects))
			}
			again, _ := rendered(t, in)
			if all(t, res) != all(t, again) {
				t.Error("it renders differently each time")
			}
			for i := range res.Objects {
				placed(t, root, &res.Objects[i], set.Format)
			}
			compare(t, objectsOf(t, res), reference(t, set))
		})
	}
}

// placed checks that an object's place is where its kind stands. A generator
// or a chart may spell it otherwise, then it is a line of the file at least.
func placed(t *testing.T, root string, o *manifest.Object, format string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, o.Source.File))
	if err != nil {
		t.Fatalf("%s: %v", o.Ref(), err)
	}
	lines := strings.Split(string(body), "\n")
	if o.Source.Line < 1 || o.Source.Line > len(lines) {
		t.Fatalf("%s comes from %s, which has %d lines", o.Ref(), o.Source, len(lines))
	}
	near := lines[o.Source.Line-1 : min(len(lines), o.Source.Line+60)]
	kind := func(l string) bool { return strings.Trim(strings.TrimSpace(l), `"'`) == "kind: "+o.GetKind() }
	if format != "helm" && !slices.ContainsFunc(near, kind) && !strings.Contains(lines[o.Source.Line-1], "name:") {
		t.Errorf("%s comes from %s, which is %q", o.Ref(), o.Source, lines[o.Source.Line-1])
	}
}

// objectsOf gives each object as JSON.
func objectsOf(t *testing.T, res *render.Result) []string {
	t.Helper()
	var out []string
	for i := range res.Objects {
		out = append(out, asJSON(t, res.Objects[i].Object))
	}
	slices.Sort(out)
	return out
}

// reference is what the project's own client makes of a set.
func reference(t *testing.T, set manifests.Set) []string {
	t.Helper()
	dir, err := set.Path()
	if err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	switch set.Format {
	case "helm":
		helm, err := built.Program("helm")
		if err != nil {
			t.Fatal(err)
		}
		values := t.TempDir() + "/values.json"
		b, err := json.Marshal(set.Values)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(values, b, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd = exec.Command(helm, "template", "known", dir, "--namespace", set.Namespace, "--include-crds", "--kube-version", render.DefaultKubeVersion, "-f", values)
		cmd.Env = []string{"HOME=" + t.TempDir()}
	case "kustomize":
		cmd = exec.Command("kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", dir)
	default:
		return nil
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.String())
	}
	docs, found := manifest.Lenient("reference.yaml", text)
	if found.Err() != nil {
		t.Fatal(found)
	}
	var out []string
	for _, d := range docs {
		out = append(out, asJSON(t, d.Value))
	}
	slices.Sort(out)
	return out
}

func compare(t *testing.T, ours, theirs []string) {
	t.Helper()
	if theirs == nil {
		return
	}
	for _, o := range ours {
		if !slices.Contains(theirs, o) {
			t.Errorf("only here: %.600s", o)
		}
	}
	for _, o := range theirs {
		if !slices.Contains(ours, o) {
			t.Errorf("only there: %.600s", o)
		}
	}
	if len(ours) != len(theirs) {
		t.Errorf("%d objects here, %d there", len(ours), len(theirs))
	}
}
