package health

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

func shell(script string) *config.Command {
	return &config.Command{Args: []string{"/bin/sh", "-c", script}}
}

func checker(dir string, cmd *config.Command) *Checker {
	return &Checker{Commands: map[string]*config.Command{"check": cmd}, Secrets: secret.Resolvers{"env": secret.Env{}}, Dir: dir}
}

var (
	check = config.Health{Command: "check"}
	ample = config.Health{Command: "check", Within: time.Minute}
)

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	healthy(t, checker(dir, shell("exit 0")), check)
	unhealthy(t, checker(dir, shell("exit 3")), check, "ended with exit status 3")
	unhealthy(t, checker(dir, &config.Command{Args: []string{"/nonexistent/program"}}), config.Health{Command: "check", Within: time.Hour}, "could not be started")
	unhealthy(t, checker(dir, shell("true")), config.Health{Command: "other", Within: time.Hour}, `command "other" is not declared`)
	unhealthy(t, &Checker{}, config.Health{Command: "sh", Within: time.Hour}, "is not declared")
	in := shell(`test "$(pwd)" = "` + dir + `/sub"`)
	in.Dir = "sub"
	healthy(t, checker(dir, in), check)
	// Arguments reach the program as they are; no shell looks at them.
	healthy(t, checker(dir, &config.Command{Args: []string{"/usr/bin/test", "$(id)", "=", "$(id)"}}), check)
}

// The program sees what was declared and nothing of trueup's own environment.
func TestCommandEnvironment(t *testing.T) {
	t.Setenv("TRUEUP_TEST_CANARY", "canary-value-17")
	t.Setenv("TRUEUP_TEST_OTHER", "not for you")
	cmd := &config.Command{Args: []string{"/usr/bin/env"}}
	r, log := one(t, checker("", cmd), ample)
	if !r.OK || strings.Contains(log, "=") {
		t.Errorf("an environment that was not declared: %+v\n%s", r, log)
	}
	cmd.Env = map[string]secret.Ref{"PASSWORD": "env:TRUEUP_TEST_CANARY"}
	healthy(t, checker("", &config.Command{Args: []string{"/bin/sh", "-c", `test "$PASSWORD" = canary-value-17`}, Env: cmd.Env}), check)
	r, log = one(t, checker("", cmd), ample)
	if !r.OK || strings.Contains(log, "canary-value") || !strings.Contains(log, "check: PASSWORD=***") || strings.Contains(log, "OTHER") {
		t.Errorf("%+v\n%s", r, log)
	}
	cmd.Env["PASSWORD"] = "env:TRUEUP_TEST_UNSET"
	unhealthy(t, checker("", cmd), check, "variable PASSWORD")
}

// Wherever the cap falls, no part of a secret gets through.
func TestCommandOutput(t *testing.T) {
	const canary = "canary0123456789abcdefghijklmnop"
	t.Setenv("TRUEUP_TEST_CANARY", canary)
	for _, pad := range []int{0, 1, maxOutput - 40, maxOutput - 20, maxOutput - 1, maxOutput, maxOutput + 10, maxOutput + 31, maxOutput + 40} {
		script := fmt.Sprintf(`printf '%%s' "$S"; head -c %d /dev/zero | tr '\0' x; printf '%%s' "$S"`, pad)
		cmd := shell(script)
		cmd.Env = map[string]secret.Ref{"S": "env:TRUEUP_TEST_CANARY"}
		r, log := one(t, checker("", cmd), ample)
		if !r.OK || strings.Contains(log, "canary") || len(log) > maxOutput+200 {
			t.Errorf("pad %d: %+v, %d bytes of log, leaks %v", pad, r, len(log), strings.Contains(log, "canary"))
		}
	}
	_, log := one(t, checker("", shell("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done")), ample)
	if n := strings.Count(log, "\n"); n > maxLines+2 || !strings.Contains(log, "left out") {
		t.Errorf("%d lines", n)
	}
	_, log = one(t, checker("", shell(`printf 'a\033[2Jb\rc\n'`)), ample)
	if strings.ContainsAny(log, "\x1b\r") {
		t.Errorf("control characters: %q", log)
	}
}

func alive(t *testing.T, pidFile string) bool {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// A process that was killed but not yet collected is dead as well.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func dies(t *testing.T, pidFile string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !alive(t, pidFile) {
			return
		}
	}
	t.Errorf("the process in %s lives on", pidFile)
}

// A command that hangs ends with all its children, whether its own time is
// over or the check's, and children that it left behind end with it.
func TestCommandIsKilled(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pid")
	script := `sleep 600 & echo $! > ` + pids + `; `
	own := shell(script + "wait")
	own.Timeout = time.Second
	start := time.Now()
	unhealthy(t, checker(dir, own), config.Health{Command: "check", Within: 1500 * time.Millisecond}, "did not end within 1s")
	dies(t, pids)
	unhealthy(t, checker(dir, shell(script+"wait")), config.Health{Command: "check", Within: time.Second}, "")
	dies(t, pids)
	healthy(t, checker(dir, shell(script+"exit 0")), check)
	dies(t, pids)
	if took := time.Since(start); took > 60*time.Second {
		t.Errorf("took %v", took)
	}
}

// A command on a host gets its variables as they are, and what it writes is
// masked before it is logged.
func TestCommandOnHost(t *testing.T) {
	t.Setenv("TRUEUP_TEST_CANARY", "canary-value-18")
	cmd := &config.Command{Args: []string{"lb", "drain", "{{ .host }}", "{{.State}}"}, On: config.OnHost, Env: map[string]secret.Ref{"TOKEN": "env:TRUEUP_TEST_CANARY"}}
	c := checker("", cmd)
	unhealthy(t, c, config.Health{Command: "check", Within: time.Hour}, "the driver has no hosts")
	var got driver.Command
	c.Subject = &Subject{Target: "infra/web", Commit: "c1", Host: "web1", On: func(_ context.Context, x driver.Command, log func(string)) error {
		got = x
		log("token is canary-value-18\x1b[2J")
		return nil
	}}
	r, log := one(t, c, ample)
	if !r.OK || strings.Contains(log, "canary-value") || !strings.Contains(log, "web1: check: token is ***[2J") {
		t.Errorf("%+v\n%s", r, log)
	}
	if fmt.Sprint(got.Args) != "[lb drain web1 {{.State}}]" || got.Env["TOKEN"].Reveal() != "canary-value-18" || got.Env["TRUEUP_HOST"].Reveal() != "web1" ||
		got.Env["TRUEUP_TARGET"].Reveal() != "infra/web" || strings.Contains(fmt.Sprint(got), "canary") {
		t.Errorf("%v", got)
	}
	// On the server the same command learns what it is called for.
	here := checker("", shell(`test "$TRUEUP_HOST $TRUEUP_TARGET $TRUEUP_COMMIT" = "web1 infra/web c1"`))
	here.Subject = c.Subject
	healthy(t, here, check)
	named := checker("", &config.Command{Args: []string{"/usr/bin/test", "{{ .host }}", "=", "web1"}})
	named.Subject = c.Subject
	healthy(t, named, check)
}
