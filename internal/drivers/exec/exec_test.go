package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// shell makes a command of a script; tests may use a shell, operators needn't.
func shell(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-eu", "-c", script, "sh"}, args...)
}

func open(t *testing.T, c *exec.Connect) driver.Session {
	t.Helper()
	s, err := exec.New().Open(t.Context(), environment(c), driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func input(inv driver.Inventory) driver.Input {
	in := desired(nil, drivertest.Objects{"one": "v1"})
	in.Target, in.Mode, in.Now, in.Inventory = "t", plan.Apply, time.Now(), inv
	return in
}

const oneChange = `{"version": 1, "changes": [{"address": "a", "action": "create"}]}`

func TestMistakesInReportsAreNamed(t *testing.T) {
	for printed, want := range map[string][]string{
		"":                              {"printed nothing"},
		"Error: no such thing":          {"not the JSON of the contract"},
		`{"version": 1}`:                {"changes", "cut short"},
		`{"version": 1, "changes": [`:   {"cut short"},
		`{"version": 2, "changes": []}`: {"version", "2 is unknown"},
		oneChange + "x":                 {"follows"},
		`{"version": 1, "changes": [], "chagnes": []}`: {"chagnes"},
		`{"version": 1, "changes": [{"address": "a", "action": "create", "before": {"x": 1}}, {"address": "a", "action": "destroy"}, {"action": "update", "sensitive": ["x"], "impact": [{"update": -1}]}]}`: {
			"changes[0].before", "changes[1].address", "changes[1].action", `"destroy" is unknown`, "changes[2].address", "changes[2].sensitive[0]", "changes[2].impact[0]"},
		`{"version": 1, "changes": [{"address": "a", "action": "create", "reasn": "x"}]}`: {"changes[0]", "reasn"},
		`{"version": 1, "changes": [], "outputs": {"a b": {}}}`:                           {"outputs.a b"},
	} {
		s := open(t, &exec.Connect{Plan: shell(`printf %s "$1"`, printed), Apply: shell("true")})
		_, err := s.Plan(t.Context(), input(nil))
		if err == nil {
			t.Errorf("%q is taken for a plan", printed)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: the error does not say %q: %v", printed, w, err)
			}
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(oneChange)
	f.Add(`{"version": 1, "changes": [], "objects": [{"address": "x"}]}`)
	f.Fuzz(func(t *testing.T, text string) { exec.DecodeForFuzz([]byte(text)) })
}

// TestEnvironmentIsConfined: a command gets what is named, and a working copy
// with the inputs alone.
func TestEnvironmentIsConfined(t *testing.T) {
	t.Setenv("TRUEUP_TEST_SECRET", "from-outside")
	out := filepath.Join(t.TempDir(), "seen")
	s := open(t, &exec.Connect{Plan: shell(`{ env; pwd; ls -A "$TRUEUP_ROOT" "$HOME"; cat "$TRUEUP_VALUES"; } >"$1"; echo '{"version": 1, "changes": []}'`, out),
		Apply: shell("true"), Env: map[string]string{"GIVEN": "{path}/x"}, Secrets: map[string]secret.Ref{"TOKEN": "mem:x"}})
	in := input(nil)
	in.Values = map[string]plan.Output{"ip": {Value: json.RawMessage(`"192.0.2.1"`)}}
	in.Spec = &exec.Spec{Values: map[string]any{"size": 3}}
	if _, err := s.Plan(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	seen := string(b)
	for _, want := range []string{"TOKEN=" + canary, "/root/dir/x", `"ip":"192.0.2.1"`, `"size":3`, "TRUEUP_TARGET=t"} {
		if !strings.Contains(seen, want) {
			t.Errorf("%q is missing from:\n%s", want, seen)
		}
	}
	for _, line := range strings.Split(seen, "\n") {
		n, _, is := strings.Cut(line, "=")
		if is && !strings.HasPrefix(n, "TRUEUP_") && !strings.Contains(" HOME TMPDIR PATH LANG PWD OLDPWD SHLVL _ TOKEN GIVEN ", " "+n+" ") {
			t.Errorf("the environment holds %s", n)
		}
	}
	if strings.Contains(seen, "from-outside") {
		t.Error("trueup's own environment shows")
	}
}

// TestOutputsWithSecretsAreSensitive: from the outputs command and from the
// plan, also when the tool did not mark them.
func TestOutputsWithSecretsAreSensitive(t *testing.T) {
	const printed = `printf '{"plain": {"value": "x"}, "in": {"value": {"list": ["a %s"]}}, "escaped": {"value": "\\u0063%s"}}' "$TOKEN" "${TOKEN#c}"`
	const noChange = `{"version": 1, "changes": []`
	for name, c := range map[string]*exec.Connect{
		"command": {Plan: shell(`printf '%s' '` + noChange + `}'`), Outputs: shell(printed)},
		"plan":    {Plan: shell(`printf '%s, "outputs": ' '` + noChange + `'; ` + printed + `; echo '}'`)},
	} {
		c.Apply, c.Secrets = shell("true"), map[string]secret.Ref{"TOKEN": "mem:x"}
		p, err := open(t, c).Plan(t.Context(), input(nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(p.Outputs) != 3 || p.Outputs["plain"].Sensitive || !p.Outputs["in"].Sensitive || !p.Outputs["escaped"].Sensitive {
			t.Errorf("%s gives %+v", name, p.Outputs)
		}
	}
}

// TestSecretsAreScrubbed from the log, the plan and errors, also those that a
// tool did not mark.
func TestSecretsAreScrubbed(t *testing.T) {
	const upstream = "canary-of-upstream-77"
	s := open(t, &exec.Connect{Secrets: map[string]secret.Ref{"TOKEN": "mem:x"},
		Plan:  shell(`printf '{"version": 1, "changes": [{"address": "a", "action": "create", "after": {"t": "x%sx", "v": %s}, "note": "%s"}]}' "$TOKEN" "$(cat "$TRUEUP_VALUES")" "$TOKEN"`),
		Apply: shell(`echo "using $TOKEN"; cat "$TRUEUP_VALUES"; echo "bad $TOKEN" >&2; exit 3`)})
	in := input(nil)
	in.Values = map[string]plan.Output{"v": {Value: json.RawMessage(`"` + upstream + `"`), Sensitive: true}}
	p, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(p)
	j := drivertest.NewJournal(nil, p)
	err = s.Apply(t.Context(), in, p, j)
	if err == nil || !strings.Contains(err.Error(), "status 3") || !strings.Contains(j.Log(), "using ***") {
		t.Fatalf("%v\n%s", err, j.Log())
	}
	results, _ := json.Marshal(j.Results())
	for what, text := range map[string]string{"plan": string(raw), "error": err.Error(), "log": j.Log(), "results": string(results)} {
		if strings.Contains(text, canary) || strings.Contains(text, upstream) {
			t.Errorf("a secret shows in the %s: %s", what, text)
		}
	}
}

// TestCancelEndsTheWholeGroup: what the command started goes with it.
func TestCancelEndsTheWholeGroup(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	s := open(t, &exec.Connect{Plan: shell("echo '" + oneChange + "'"),
		Apply: shell(`(trap '' INT TERM; sleep 600) & echo $! >"$1.new"; mv "$1.new" "$1"; echo begun; wait`, pids)})
	in := input(nil)
	p, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	j := drivertest.NewJournal(nil, p)
	var begun time.Time
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pids); err == nil {
				begun = time.Now()
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	err = s.Apply(ctx, in, p, j)
	if !errors.Is(err, context.Canceled) || time.Since(begun) > exec.New().Info().StopGrace {
		t.Fatalf("%v after %s", err, time.Since(begun))
	}
	if r := j.Results(); len(r) != 1 || r[0].Outcome != plan.Unknown {
		t.Errorf("the outcome of a cancelled apply: %+v", r)
	}
	b, _ := os.ReadFile(pids)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	for end := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a grandchild outlived the run")
		}
	}
}

// zombie tells that a process ended and nobody has taken note.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

// TestPlanIsAppliedWholeOrNot: a tool that can't choose is not run when it
// would do more than was approved.
func TestPlanIsAppliedWholeOrNot(t *testing.T) {
	more, done := filepath.Join(t.TempDir(), "more"), filepath.Join(t.TempDir(), "done")
	s := open(t, &exec.Connect{Apply: shell(`cat "$TRUEUP_PLAN" >"$1"`, done),
		Plan: shell(`printf saved >"$TRUEUP_PLAN"; printf '{"version": 1, "changes": [{"address": "a", "action": "create"}'; if [ -e "$1" ]; then printf ', {"address": "b", "action": "delete"}'; fi; echo "]}"`, more)})
	in := input(driver.Inventory{{Address: "b"}: {Key: plan.Key{Address: "b"}}})
	p, err := s.Plan(t.Context(), in)
	if err != nil || string(p.Artefact) != "saved" {
		t.Fatalf("%v, %q", err, p.Artefact)
	}
	if err := os.WriteFile(more, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), in, p, drivertest.NewJournal(in.Inventory, p)); !errors.Is(err, driver.ErrStale) {
		t.Errorf("a plan that grew is applied: %v", err)
	}
	in.Mode = plan.AddOnly
	if _, err := s.Plan(t.Context(), in); !driver.IsPermanent(err) {
		t.Errorf("an add-only run of a tool that can't choose: %v", err)
	}
	in.Mode = plan.Apply
	if err := os.Remove(more); err != nil {
		t.Fatal(err)
	}
	p.Artefact = []byte("approved")
	if err := s.Apply(t.Context(), in, p, drivertest.NewJournal(in.Inventory, p)); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(done); string(b) != "approved" {
		t.Errorf("apply was given the plan %q, not the approved one", b)
	}
}

// TestToolsWithoutAPlan have one object, simulated.
func TestToolsWithoutAPlan(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	for name, c := range map[string]*exec.Connect{
		"check": {Check: shell(`cmp -s one "$1" || exit 2`, state), Apply: shell(`cp one "$1"`, state)},
		"blind": {Apply: shell(`cp one "$1"`, state)},
	} {
		_ = os.Remove(state)
		s := open(t, c)
		in := input(nil)
		p, err := s.Plan(t.Context(), in)
		if err != nil || len(p.Changes) != 1 || p.Changes[0].Action != plan.Create || !p.Changes[0].Simulated {
			t.Fatalf("%s: %v, %+v", name, err, p)
		}
		j := drivertest.NewJournal(nil, p)
		if err := s.Apply(t.Context(), in, p, j); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(state); string(b) != "v1" {
			t.Fatalf("%s: the tool left %q", name, b)
		}
		in = input(j.Inventory())
		if p, err = s.Plan(t.Context(), in); err != nil || !p.Empty() {
			t.Errorf("%s: after apply: %v, %+v", name, err, p.Changes)
		}
		next := desired(nil, drivertest.Objects{"one": "v2"})
		in.Tree = next.Tree
		if p, err = s.Plan(t.Context(), in); err != nil || len(p.Changes) != 1 || p.Changes[0].Action != plan.Update {
			t.Errorf("%s: changed inputs: %v, %+v", name, err, p.Changes)
		}
		in.Mode = plan.Destroy
		if _, err := s.Plan(t.Context(), in); !driver.IsPermanent(err) {
			t.Errorf("%s: destroy without a command: %v", name, err)
		}
	}
	s := open(t, &exec.Connect{Check: shell("echo broken >&2; exit 1"), Apply: shell("true")})
	if _, err := s.Plan(t.Context(), input(nil)); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a check that failed is taken for an answer: %v", err)
	}
}

// TestUnknownValuesAreWaitedFor: the tool is not run with half of its inputs.
func TestUnknownValuesAreWaitedFor(t *testing.T) {
	s := open(t, &exec.Connect{Plan: shell("exit 9"), Apply: shell("true")})
	in := input(nil)
	in.Values = map[string]plan.Output{"lb": {Unknown: true}}
	p, err := s.Plan(t.Context(), in)
	if err != nil || len(p.UnknownScopes()) != 1 || !strings.Contains(p.Scopes[0].Unknown, "lb") || len(p.Changes) != 0 {
		t.Errorf("%v, %+v", err, p)
	}
}

func TestTimeoutsAndLeftovers(t *testing.T) {
	s := open(t, &exec.Connect{Plan: shell("echo so far >&2; sleep 600"), Apply: shell("true"), Timeout: 300 * time.Millisecond})
	if _, err := s.Plan(t.Context(), input(nil)); err == nil || !strings.Contains(err.Error(), "300ms") || !strings.Contains(err.Error(), "so far") {
		t.Errorf("%v", err)
	}
	for _, c := range []*exec.Connect{{}, {Apply: []string{"tool"}}, {Apply: []string{"/x", "{pth}"}}, {Apply: []string{"/x"}, Env: map[string]string{"HOME": "/"}},
		{Apply: []string{"/x"}, Preset: "none"}, {Apply: []string{"/x"}, Plan: []string{"/x"}, Check: []string{"/x"}}} {
		if c.Validate().Err() == nil {
			t.Errorf("%+v passes", c)
		}
	}
}
