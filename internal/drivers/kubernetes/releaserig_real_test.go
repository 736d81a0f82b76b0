//go:build real

package kubernetes_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"os"
	"path/filepath"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/helm"
)

// ship is a target whose chart is installed as a release, seen by the driver,
// by kubectl and by the helm program.
type ship struct {
	realWorld
	helm      *helm.Helm
	session   driver.Session
	connect   func(*kubernetes.Connect)
	files     map[string]string // of the chart
	spec      *kubernetes.Spec
	scope     *kubernetes.Scope
	values    map[string]plan.Output
	inventory driver.Inventory
	mode      plan.Mode
	now       time.Time
	journal   *drivertest.Journal
}

func newShip(t *testing.T, templates map[string]string) *ship {
	t.Helper()
	ns := cluster.Namespace(t)
	s := &ship{realWorld: realWorld{t, ns}, helm: helm.For(t, cluster.Kubeconfig), scope: &kubernetes.Scope{}, inventory: driver.Inventory{}, mode: plan.Apply, now: time.Now()}
	s.files = map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n"}
	for name, text := range templates {
		if !strings.Contains(name, "/") {
			name = "templates/" + name + ".yaml"
		}
		s.files[name] = text
	}
	s.spec = releaseSpec(ns, nil)
	return s
}

func (s *ship) fatal(err error) {
	s.t.Helper()
	if err != nil {
		log := ""
		if s.journal != nil {
			log = s.journal.Log()
		}
		s.t.Fatalf("%v\n%s", err, log)
	}
}

func (s *ship) input() driver.Input {
	tree := fstest.MapFS{}
	for name, text := range s.files {
		tree["app/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return driver.Input{Target: "t/app", Tree: tree, Path: "app", Spec: s.spec, Scope: s.scope, Values: s.values, Inventory: s.inventory, Mode: s.mode, Now: s.now}
}

// helmSpec changes how the chart is installed.
func (s *ship) helmSpec(change func(*render.HelmSpec)) {
	s.spec = releaseSpec(s.namespace, func(h *render.HelmSpec) {
		*h.Release = *s.spec.Helm.Release
		h.Values = s.spec.Helm.Values
		change(h)
	})
}

func (s *ship) open() driver.Session {
	s.t.Helper()
	if s.session == nil {
		var err error
		s.session, err = kubernetes.New().Open(s.t.Context(), environment(kubeconfig(s.t), s.connect), driver.Write)
		s.fatal(err)
		s.t.Cleanup(func() { _ = s.session.Close() })
	}
	return s.session
}

func (s *ship) tryPlan() (*plan.Plan, error) {
	s.t.Helper()
	return s.open().Plan(s.t.Context(), s.input())
}

func (s *ship) plan() *plan.Plan {
	s.t.Helper()
	p, err := s.tryPlan()
	s.fatal(err)
	if u := p.UnknownScopes(); len(u) > 0 {
		s.t.Fatalf("unknown: %s", u[0].Unknown)
	}
	return p
}

// apply carries a plan out and keeps what is owned then.
func (s *ship) apply(ctx context.Context, p *plan.Plan) error {
	s.t.Helper()
	s.journal = drivertest.NewJournal(s.inventory, p)
	err := s.open().Apply(ctx, s.input(), p, s.journal)
	s.inventory = s.journal.Inventory()
	return err
}

// sync plans and applies, and expects that nothing is left to do.
func (s *ship) sync() *plan.Plan {
	s.t.Helper()
	p := s.plan()
	s.fatal(s.apply(s.t.Context(), p))
	for _, r := range s.journal.Results() {
		if r.Outcome != plan.Applied {
			s.t.Fatalf("%s %s is %s: %s\n%s", r.Action, r.Key, r.Outcome, r.Error, s.journal.Log())
		}
	}
	s.settled()
	return p
}

func (s *ship) settled() {
	s.t.Helper()
	if p := s.plan(); !p.Empty() {
		s.t.Fatalf("something is left to do:\n%s", shown(p))
	}
}

func shown(p *plan.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		b.WriteString(string(c.Action) + " " + string(c.Address) + " (" + string(c.Reason) + ") " + c.Note)
		if c.Conflict != "" {
			b.WriteString(" CONFLICT " + c.Conflict)
		}
		b.WriteString("\n  " + string(c.Before) + "\n  " + string(c.After) + "\n")
	}
	return b.String()
}

// lines gives action and address of each change, without the namespace.
func (s *ship) lines(p *plan.Plan) string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, string(c.Action)+" "+strings.ReplaceAll(string(c.Address), s.namespace+"/", ""))
	}
	return strings.Join(out, ", ")
}

func (s *ship) change(p *plan.Plan, address string) plan.Change {
	s.t.Helper()
	kind, name, _ := strings.Cut(address, "/")
	for _, c := range p.Changes {
		if string(c.Address) == kind+"/"+s.namespace+"/"+name || string(c.Address) == address {
			return c
		}
	}
	s.t.Fatalf("%s is not in the plan:\n%s", address, shown(p))
	return plan.Change{}
}

const theRelease = "Release.helm.sh/app"

// is compares the lines of a plan.
func (s *ship) is(p *plan.Plan, want string) {
	s.t.Helper()
	if got := s.lines(p); got != want {
		s.t.Fatalf("the plan is\n%s\nnot\n%s\n%s", got, want, shown(p))
	}
}

func (s *ship) has(text string, parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			s.t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

// history is the helm program's view: revisions and their status.
func (s *ship) history() string {
	s.t.Helper()
	out, err := s.helm.Try("-n", s.namespace, "history", "app", "-o", "json")
	if err != nil {
		return ""
	}
	var list []struct {
		Revision int
		Status   string
	}
	s.fatal(json.Unmarshal([]byte(out), &list))
	var parts []string
	for _, r := range list {
		parts = append(parts, strings.TrimSpace(strings.Join([]string{jsonText(r.Revision), r.Status}, " ")))
	}
	return strings.Join(parts, ", ")
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// get gives a field of a live object by a JSON path; "" where there is none.
func (s *ship) get(object, path string) string {
	s.t.Helper()
	return s.kubectl(s.t, "", "get", object, "--ignore-not-found", "-o", "jsonpath={"+path+"}")
}

// dir writes the chart to a directory for the helm program.
func (s *ship) dir() string {
	s.t.Helper()
	dir := s.t.TempDir()
	for n, text := range s.files {
		p := filepath.Join(dir, n)
		s.fatal(os.MkdirAll(filepath.Dir(p), 0o755))
		s.fatal(os.WriteFile(p, []byte(text), 0o600))
	}
	return dir
}

// owned lists what the target owns, without the namespace.
func (s *ship) owned() string {
	var out []string
	for _, k := range slices.SortedFunc(maps.Keys(s.inventory), plan.Key.Compare) {
		mark := ""
		if s.inventory[k].Pending {
			mark = "?"
		}
		out = append(out, strings.ReplaceAll(string(k.Address), s.namespace+"/", "")+mark)
	}
	return strings.Join(out, " ")
}

// slow is a Job that is never done.
func hookJob(name, event, annotation string) string {
	return `apiVersion: batch/v1
kind: Job
metadata: {name: ` + name + `, annotations: {helm.sh/hook: "` + event + `"}}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {` + annotation + `}}
    spec: {restartPolicy: Never, containers: [{name: main, image: example.test/c:1}]}
`
}
