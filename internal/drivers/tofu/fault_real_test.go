//go:build real

package tofu_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// wait waits for a condition, with an end.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// applying finds the process of the program that applies below a directory.
func applying(dir string) int {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err != nil || !strings.Contains(string(b), "\x00apply\x00") || !strings.Contains(string(b), dir) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err == nil {
			return pid
		}
	}
	return 0
}

func twoThings() string { return thing("a", "alpha", "one") + thing("b", "beta", "two") }

func TestProgramKilledInTheMiddle(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		first := thing("z", "zero", "nought")
		r.main(first)
		r.apply()
		r.main(first + twoThings())
		open := r.things.Stall("beta")
		p := r.plan()
		done := make(chan error, 1)
		go func() { done <- r.applyWith(context.Background(), p) }()
		wait(t, "alpha is made and beta is being made", func() bool { return r.there()["alpha"] == "one" && r.things.Writes("beta") > 0 })
		if err := syscall.Kill(applying(r.dir), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Logf("the apply ended with %v", err)
		}
		open()
		for _, res := range r.journal.Results() {
			if res.Address == "things_thing.b" && res.Outcome != plan.Unknown {
				t.Errorf("%s is said to be %s", res.Address, res.Outcome)
			}
		}
		// Everything that may have been begun is still ours, and nothing is made
		// twice without anybody knowing: OpenTofu writes its state at the end, so
		// a kill takes with it what was done since the start.
		p = r.plan()
		for _, a := range []plan.Address{"things_thing.a", "things_thing.b"} {
			if _, owned := r.inv[plan.Key{Address: a}]; !owned {
				t.Errorf("%s is no longer owned", a)
			}
			if c, again := planHas(p, string(a)); again && c.Conflict == "" {
				t.Errorf("%s would be made twice", a)
			}
		}
		if c := find(t, p, "things_thing.b"); !strings.Contains(c.Conflict, "cut off") {
			t.Errorf("what may have been made is planned as %+v", c)
		}
		writes := r.things.Writes("")
		if err := r.applyWith(context.Background(), p); err == nil || r.things.Writes("") != writes {
			t.Errorf("a conflict was applied (%v)", err)
		}
		for i := range p.Changes {
			p.Changes[i].Conflict = "" // somebody has looked, and approved it
		}
		if err := r.applyWith(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"zero": "nought", "alpha": "one", "beta": "two"}; !maps.Equal(r.there(), want) {
			t.Errorf("on the server is %v", r.there())
		}
		if p := r.plan(); !p.Empty() {
			t.Errorf("after all: %s", actions(p))
		}
	})
}

func TestCancelLosesNoState(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(twoThings() + "resource \"things_thing\" \"c\" {\n  name = \"gamma\"\n  value = things_thing.b.address\n}\n")
		open := r.things.Stall("beta")
		p := r.plan()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.applyWith(ctx, p) }()
		wait(t, "alpha is made and beta is being made", func() bool { return r.there()["alpha"] == "one" && r.things.Writes("beta") > 0 })
		cancel()
		time.AfterFunc(200*time.Millisecond, open)
		select {
		case err := <-done:
			if err == nil {
				t.Error("a cancelled apply says it went well")
			}
		case <-time.After(70 * time.Second):
			t.Fatal("a cancelled apply did not end within its grace")
		}
		if _, made := r.there()["gamma"]; made {
			t.Error("a cancelled apply began something new")
		}
		writes := r.things.Writes("alpha") + r.things.Writes("beta")
		r.apply()
		if again := r.things.Writes("alpha") + r.things.Writes("beta"); again != writes {
			t.Errorf("alpha or beta was written again: its state was lost (%d, then %d)", writes, again)
		}
		if len(r.there()) != 3 {
			t.Errorf("on the server is %v", r.there())
		}
	})
}

// TestHelperApply is not a test: TestKilledTrueup runs it in a process of its
// own, to be killed.
func TestHelperApply(t *testing.T) {
	dir := os.Getenv("TRUEUP_TEST_APPLY")
	if dir == "" {
		return
	}
	r := newRig(t, os.Getenv("TRUEUP_TEST_PROGRAM"))
	helperRig(r, dir, os.Getenv("TRUEUP_TEST_URL"))
	if err := r.applyWith(context.Background(), r.plan()); err != nil {
		t.Fatal(err)
	}
}

func helperRig(r *rig, dir, url string) {
	r.dir = dir
	r.connect.Cache, r.connect.Backend.LocalState = filepath.Join(dir, "cache"), filepath.Join(dir, "state")
	r.connect.Env["THINGS_URL"] = url
	r.connect.LockTimeout = 20 * time.Second
	r.main(twoThings() + "resource \"things_thing\" \"c\" {\n  name = \"gamma\"\n  value = things_thing.b.address\n}\n")
}

func TestKilledTrueup(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		open := r.things.Stall("beta")
		cmd := exec.Command(os.Args[0], "-test.run=^TestHelperApply$", "-test.count=1")
		cmd.Env = append(os.Environ(), "TRUEUP_TEST_APPLY="+r.dir, "TRUEUP_TEST_PROGRAM="+r.connect.Program, "TRUEUP_TEST_URL="+r.things.URL)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait(t, "alpha is made and beta is being made", func() bool { return r.there()["alpha"] == "one" && r.things.Writes("beta") > 0 })
		pid := applying(r.dir)
		if pid == 0 {
			t.Fatal("the program's process is not there")
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		helperRig(r, r.dir, r.things.URL)
		// The program outlives us only to finish what it is at; a new run waits
		// for it and finds all of it in the state.
		time.AfterFunc(500*time.Millisecond, open)
		p := r.plan()
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Error("a plan was made while the program of the killed run still worked")
		}
		if got := actions(p); strings.Contains(got, "create(spec) things_thing.a") || strings.Contains(got, "create(spec) things_thing.b") {
			t.Errorf("state was lost: %s", got)
		}
		writes := r.things.Writes("alpha") + r.things.Writes("beta")
		r.apply()
		if again := r.things.Writes("alpha") + r.things.Writes("beta"); again != writes || len(r.there()) != 3 {
			t.Errorf("%d writes, then %d; on the server is %v", writes, again, r.there())
		}
	})
}

func TestProviderCrash(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "crash"))
		if err := r.applyWith(context.Background(), r.plan()); err != nil {
			t.Logf("the apply ended with %v", err)
		}
		for _, res := range r.journal.Results() {
			if res.Address == "things_thing.b" && (res.Outcome == plan.Applied || res.Error == "") {
				t.Errorf("a crash is reported as %s %q", res.Outcome, res.Error)
			}
		}
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "mended"))
		r.apply()
		if r.there()["beta"] != "mended" {
			t.Errorf("on the server is %v", r.there())
		}
	})
}

func TestWrongCredentials(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		r.apply()
		wrong := "canary-wrong-4711"
		r.secrets["env:TOKEN"] = wrong
		_, err := r.tryPlan()
		if err == nil || !strings.Contains(err.Error(), "401") {
			t.Fatalf("wrong credentials give %v", err)
		}
		if strings.Contains(err.Error(), wrong) {
			t.Errorf("the error holds the credential: %v", err)
		}
		r.secrets["env:TOKEN"] = canaryToken
		if p := r.plan(); !p.Empty() {
			t.Errorf("after that: %s", actions(p))
		}
	})
}

func TestStateLockedBySomebodyElse(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		r.apply()
		// Somebody works on the same state with the program itself.
		dir := t.TempDir()
		state, err := filepath.Glob(filepath.Join(r.connect.Backend.LocalState, "*.tfstate"))
		if err != nil || len(state) != 1 {
			t.Fatal(state, err)
		}
		text := fmt.Sprintf("terraform {\n  backend \"local\" {\n    path = %q\n  }\n}\n"+
			"resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"touch begun; while [ ! -e stop ]; do sleep 0.05; done\"\n  }\n}\n", state[0])
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cli := filepath.Join(dir, "cli.tfrc")
		text = fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", r.connect.Mirrors.Filesystem)
		if err := os.WriteFile(cli, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		run := func(args ...string) *exec.Cmd {
			cmd := exec.Command(r.connect.Program, args...)
			cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=" + cli}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			return cmd
		}
		if out, err := run("init", "-input=false").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		other := run("apply", "-auto-approve", "-input=false", "-target=terraform_data.x")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600)
			_ = other.Wait()
		}()
		wait(t, "the other one has the lock", func() bool { _, err := os.Stat(filepath.Join(dir, "begun")); return err == nil })
		began := time.Now()
		_, err = r.tryPlan()
		if !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "Who:") || !strings.Contains(err.Error(), "force-unlock") {
			t.Errorf("a locked state gives %v", err)
		}
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("it was waited for %s, not for the lockTimeout", took)
		}
	})
}

func TestRescuedStateComesBack(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.main(thing("a", "alpha", "one"))
		r.apply()
		r.main(thing("a", "alpha", "one") + thing("b", "beta", "two"))
		p := r.plan()
		open := r.things.Stall("beta")
		done := make(chan error, 1)
		go func() { done <- r.applyWith(context.Background(), p) }()
		wait(t, "beta is being made", func() bool { return r.things.Writes("beta") > 0 })
		// The place of the state goes away under it.
		if err := os.Rename(r.connect.Backend.LocalState, r.connect.Backend.LocalState+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.connect.Backend.LocalState, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		open()
		err := <-done
		if err == nil {
			t.Fatal("a state that was not written went unnoticed")
		}
		t.Logf("%v", err)
		if err := os.Remove(r.connect.Backend.LocalState); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.connect.Backend.LocalState+".away", r.connect.Backend.LocalState); err != nil {
			t.Fatal(err)
		}
		_, err = r.tryPlan()
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "trueup state recover") {
			t.Fatalf("a plan while a state waits gives %v", err)
		}
		enc, _ := filepath.Glob(filepath.Join(r.dir, "cache", "rescue", "*"))
		if len(enc) != 1 {
			t.Fatalf("saved are %v", enc)
		}
		if b, err := os.ReadFile(enc[0]); err != nil || strings.Contains(string(b), "beta") {
			t.Errorf("the saved state is not encrypted (%v)", err)
		}
		if _, err := r.state(driver.StateOp{Verb: "recover"}); err != nil {
			t.Fatal(err)
		}
		if p := r.plan(); p.Writes() {
			t.Errorf("after the recovery: %s", actions(p))
		}
		if n := r.things.Writes("beta"); n != 1 {
			t.Errorf("beta was written %d times", n)
		}
	})
}

func planHas(p *plan.Plan, address string) (plan.Change, bool) {
	for _, c := range p.Changes {
		if string(c.Address) == address && c.Action == plan.Create {
			return c, true
		}
	}
	return plan.Change{}, false
}
