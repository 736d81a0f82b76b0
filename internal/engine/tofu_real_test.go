//go:build real

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/engine"
	tofuserver "trueup.dev/trueup/internal/servertest/tofu"
	"trueup.dev/trueup/internal/store"
)

// infraCanary is the credential of the infrastructure.
const infraCanary = "canary-infra-77ab12"

const infraConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s}
policies:
  quick: {driftInterval: 1s}
environments:
  cloud:
    driver: tofu
    policy: quick
    connect:
      program: %[2]s
      cache: %[1]s/cache
      env: {THINGS_URL: "%[3]s"}
      secretEnv: {THINGS_TOKEN: "file:token"}
      mirrors: {filesystem: %[4]s}
      backend: {localState: %[1]s/state}
    allow: [{repository: infra}]
  site:
    driver: files
    policy: quick
    connect: {root: %[1]s/site}
    allow: [{repository: infra}]
`

type infraWorld struct {
	*world
	things *tofuserver.Things
}

func newInfraWorld(t *testing.T) *infraWorld {
	program, err := tofuserver.Program()
	if err != nil {
		t.Fatal(err)
	}
	w := &infraWorld{world: newWorld(t), things: tofuserver.NewThings(t, infraCanary)}
	if err := os.WriteFile(filepath.Join(w.dir, "token"), []byte(infraCanary), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config = fmt.Sprintf(infraConfig, w.dir, program, w.things.URL, tofuserver.Mirror(t))
	return w
}

const needsThings = "terraform {\n  required_providers {\n    things = { source = \"trueup/things\" }\n  }\n}\n"

func useModule(name string) string {
	return fmt.Sprintf("module \"m\" {\n  source = \"../modules/m\"\n  name   = %q\n}\noutput \"ip\" {\n  value = module.m.ip\n}\n", name)
}

func sharedModule(value string) string {
	return needsThings + fmt.Sprintf("variable \"name\" { type = string }\nresource \"things_thing\" \"t\" {\n  name  = var.name\n  value = %q\n}\n"+
		"output \"ip\" {\n  value = things_thing.t.address\n}\n", value)
}

const infraManifest = `version: 1
targets:
  - {name: one, environment: cloud, path: one, outputs: {ip: {}}}
  - {name: two, environment: cloud, path: two}
  - {name: three, environment: cloud, path: three}
  - {name: site, environment: site, path: web, values: {ip: one.ip}, spec: {templates: ["*.conf"]}}
`

// A commit to a local module runs the roots that use it, which did not declare
// it, and what they give out reaches those that use it.
func TestSharedModuleAndOutputs(t *testing.T) {
	w := newInfraWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": infraManifest, "modules/m/main.tf": sharedModule("v1"),
		"one/main.tf": useModule("alpha"), "two/main.tf": useModule("beta"),
		"three/main.tf": "resource \"terraform_data\" \"alone\" {}\n", "web/app.conf": "address = {{ .ip }}\n"})
	w.start()
	for _, name := range []string{"one", "two", "three", "site"} {
		w.synced("infra/"+name, c1)
	}
	all := w.things.All()
	if all["alpha"].Value != "v1" || all["beta"].Value != "v1" {
		t.Fatalf("on the server is %v", all)
	}
	w.eventually("the output is in the file", func() bool { return w.file("app.conf") == "address = "+all["alpha"].Address+"\n" })

	c2 := w.push(map[string]string{"modules/m/main.tf": sharedModule("v2")})
	w.synced("infra/one", c2)
	w.synced("infra/two", c2)
	if all := w.things.All(); all["alpha"].Value != "v2" || all["beta"].Value != "v2" {
		t.Fatalf("on the server is %v", all)
	}
	if w.target("infra/three").Desired.Commit != c1 {
		t.Error("a root that does not use the module was run")
	}

	// A root that no longer uses it is no longer concerned, and one that begins
	// to is.
	c3 := w.push(map[string]string{"two/main.tf": needsThings + "resource \"things_thing\" \"t\" {\n  name = \"beta\"\n  value = \"own\"\n}\n" +
		"moved {\n  from = module.m.things_thing.t\n  to   = things_thing.t\n}\n", "three/main.tf": useModule("gamma")})
	w.synced("infra/two", c3)
	w.synced("infra/three", c3)
	c4 := w.push(map[string]string{"modules/m/main.tf": sharedModule("v3")})
	w.synced("infra/one", c4)
	w.synced("infra/three", c4)
	if all := w.things.All(); all["alpha"].Value != "v3" || all["beta"].Value != "own" || all["gamma"].Value != "v3" {
		t.Errorf("on the server is %v", all)
	}
	if w.target("infra/two").Desired.Commit != c3 {
		t.Error("a root that gave the module up was run")
	}
	w.noCanary()
}

// Destroying everything takes the target out of Git, a request and an approval
// of exactly that plan.
func TestDestroyOfInfrastructureIsHeld(t *testing.T) {
	w := newInfraWorld(t)
	manifest := "version: 1\ntargets:\n  - {name: one, environment: cloud, path: one}\n"
	root := needsThings + "resource \"things_thing\" \"a\" {\n  count = 12\n  name  = \"n${count.index}\"\n  value = \"v\"\n}\n"
	c1 := w.push(map[string]string{"trueup.yaml": manifest, "one/main.tf": root})
	w.start()
	w.synced("infra/one", c1)
	if len(w.things.All()) != 12 {
		t.Fatalf("on the server is %v", w.things.All())
	}
	w.push(map[string]string{"one/main.tf": strings.Replace(root, "12", "1", 1)})
	w.held("infra/one", engine.GateGuard)
	if len(w.things.All()) != 12 {
		t.Fatal("the guard came too late")
	}
	w.push(map[string]string{"trueup.yaml": "version: 1\ntargets: []\n"})
	w.eventually("the target is orphaned", func() bool { return w.target("infra/one").State == store.Orphaned })
	ctx := context.Background()
	if err := w.e.Destroy(ctx, "user:root", "infra/one", "test"); err != nil {
		t.Fatal(err)
	}
	var waiting store.Target
	w.eventually("the destroy is held", func() bool {
		waiting = w.target("infra/one")
		p, _, err := w.st.PlanByHash(ctx, "infra/one", waiting.Status.PlanHash)
		return err == nil && p.Mode == "destroy" && p.Impact()["resource"].Delete == 12
	})
	if len(w.things.All()) != 12 {
		t.Fatal("a destroy went ahead of its approval")
	}
	if _, err := w.e.Approve(ctx, engine.Approver{Actor: "user:root"}, "infra/one", waiting.Status.PlanHash, "yes"); err != nil {
		t.Fatal(err)
	}
	w.eventually("all is gone", func() bool { return len(w.things.All()) == 0 })
	w.eventually("the target is retired", func() bool { return w.target("infra/one").State == store.Retired })
}

// A state is worked on through the engine, with a reason, and recorded.
func TestStateVerbs(t *testing.T) {
	w := newInfraWorld(t)
	c1 := w.push(map[string]string{"trueup.yaml": "version: 1\ntargets:\n  - {name: one, environment: cloud, path: one}\n",
		"one/main.tf": needsThings + "resource \"things_thing\" \"a\" {\n  name  = \"alpha\"\n  value = \"v\"\n}\n"})
	w.start()
	w.synced("infra/one", c1)
	ctx := context.Background()
	do := func(reason, verb string, args ...string) (driver.StateResult, error) {
		return w.e.State(ctx, "user:root", "infra/one", driver.StateOp{Verb: verb, Args: args}, reason)
	}
	if r, err := do("", "list"); err != nil || len(r.Addresses) != 1 || r.Addresses[0] != "things_thing.a" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := do("", "rm", "things_thing.a"); err == nil || !strings.Contains(err.Error(), "say why") {
		t.Errorf("a change without a reason gives %v", err)
	}
	for _, bad := range [][]string{{"rm", "-lock=false"}, {"mv", "a"}, {"push", "x"}, {"force-unlock", "; rm"}} {
		if _, err := do("test", bad[0], bad[1:]...); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	w.eventually("a resource leaves the state", func() bool {
		_, err := do("test", "rm", "things_thing.a")
		return err == nil
	})
	if r, err := do("", "list"); err != nil || len(r.Addresses) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if w.things.All()["alpha"].Value != "v" {
		t.Error("the infrastructure was touched")
	}
	events, err := w.st.Events(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, e := range events {
		seen = seen || e.Kind == "target.state" && strings.Contains(string(e.Data), "things_thing.a")
	}
	if !seen {
		t.Error("the change of the state is not in the record")
	}
}

// noCanary looks for the credential in all that the store shows.
func (w *infraWorld) noCanary() {
	w.t.Helper()
	ctx := context.Background()
	runs, _, err := w.st.Runs(ctx, store.RunFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	var all strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&all, "%+v\n", r)
		if p, _, err := w.st.Plan(ctx, r.ID); err == nil {
			fmt.Fprintf(&all, "%+v %s\n", p, p.Artefact)
		}
	}
	if strings.Contains(all.String(), infraCanary) {
		w.t.Error("a credential shows up in a run or a plan")
	}
	err = filepath.WalkDir(filepath.Join(w.dir, "data"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if strings.Contains(string(b), infraCanary) {
			w.t.Errorf("a credential is in %s", p)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}
