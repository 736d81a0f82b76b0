package cli_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"trueup.dev/trueup/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"trueup": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs what needs git and a directory alone.
func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script", nil)
}

// runScripts runs the scripts of a directory; setup prepares each one.
func runScripts(t *testing.T, dir string, setup func(*testscript.Env) error) {
	t.Helper()
	testscript.Run(t, testscript.Params{Dir: dir, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, ".home")
			for _, v := range [][2]string{{"HOME", home}, {"GIT_CONFIG_GLOBAL", os.DevNull}, {"GIT_CONFIG_NOSYSTEM", "1"}, {"LC_ALL", "C.UTF-8"},
				{"GIT_AUTHOR_NAME", "Ada"}, {"GIT_AUTHOR_EMAIL", "ada@example.com"}, {"GIT_COMMITTER_NAME", "Ada"}, {"GIT_COMMITTER_EMAIL", "ada@example.com"},
				{"TRUEUP_SERVER", ""}, {"TRUEUP_SOCKET", ""}, {"TRUEUP_CONFIG", ""}, {"TRUEUP_DATA_DIR", ""}, {"TRUEUP_TOKEN_FILE", ""}, {"NO_COLOR", ""}, {"DATABASE", ""}} {
				e.Setenv(v[0], v[1])
			}
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			if setup != nil {
				return setup(e)
			}
			return nil
		},
		Condition: func(c string) (bool, error) {
			switch c {
			case "postgres":
				return os.Getenv("TRUEUP_TEST_DATABASE") == "postgres", nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", c)
		},
		Cmds: commands()})
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	return merge(map[string]command{
		"expand":   cmdExpand,
		"wait-for": cmdWaitFor,
		"capture":  cmdCapture,
		"freeport": cmdFreePort,
		"git-init": cmdGitInit,
		"git-push": cmdGitPush,
		"webhook":  cmdWebhook,
		"http":     cmdHTTP,
		"many":     cmdMany,
		"registry": cmdRegistry,
		"image":    cmdImage,
	}, realCommands())
}

func merge(a, b map[string]command) map[string]command {
	for k, v := range b {
		a[k] = v
	}
	return a
}

// cmdExpand replaces ${VAR} in files.
func cmdExpand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		body := ts.ReadFile(name)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(body, ts.Getenv)), 0o644))
	}
}

// cmdWaitFor runs a command again and again until it succeeds and its output
// matches: wait-for REGEXP PROGRAM ARG...
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] wait-for REGEXP PROGRAM ARG...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	var out string
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err = ts.Exec(args[1], args[2:]...)
		out = ts.ReadFile("stdout")
		if err == nil && want.MatchString(out) != neg {
			return
		}
	}
	ts.Fatalf("%v did not come to %q (%v):\n%s\n%s", args[1:], args[0], err, out, ts.ReadFile("stderr"))
}

// cmdCapture puts what a group of a regular expression matched in the last
// output into a variable: capture NAME REGEXP
func cmdCapture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("%q does not match", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func cmdFreePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// cmdGitInit makes of a directory a checkout with a first commit, and of
// DIRECTORY.git the repository that it pushes to.
func cmdGitInit(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(ts.Exec("git", "init", "-q", "--bare", "-b", "main", dir+".git"))
	for _, a := range [][]string{{"init", "-q", "-b", "main"}, {"remote", "add", "origin", dir + ".git"}, {"add", "-A"},
		{"commit", "-qm", "first"}, {"push", "-q", "origin", "main"}} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, a...)...))
	}
}

// cmdGitPush commits all and pushes: git-push DIRECTORY MESSAGE; the commit is
// in $COMMIT afterwards.
func cmdGitPush(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	for _, a := range [][]string{{"add", "-A"}, {"commit", "-qm", args[1]}, {"push", "-q", "origin", "main"}, {"rev-parse", "HEAD"}} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, a...)...))
	}
	ts.Setenv("COMMIT", strings.TrimSpace(ts.ReadFile("stdout")))
}

// cmdWebhook sends a signed delivery: webhook URL SECRET STATUS
func cmdWebhook(ts *testscript.TestScript, _ bool, args []string) {
	body := []byte(`{"ref":"refs/heads/main"}`)
	mac := hmac.New(sha256.New, []byte(args[1]))
	mac.Write(body)
	r, err := http.NewRequest(http.MethodPost, args[0], bytes.NewReader(body))
	ts.Check(err)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	request(ts, r, args[2])
}

// cmdHTTP gets a URL: http STATUS URL [REGEXP]
func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.NewRequest(http.MethodGet, args[1], nil)
	ts.Check(err)
	body := request(ts, r, args[0])
	if len(args) > 2 && !regexp.MustCompile("(?m)"+args[2]).MatchString(body) {
		ts.Fatalf("%s answered without %q:\n%s", args[1], args[2], body)
	}
}

func request(ts *testscript.TestScript, r *http.Request, status string) string {
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if fmt.Sprint(resp.StatusCode) != status {
		ts.Fatalf("%s answered %s, not %s: %s", r.URL, resp.Status, status, body)
	}
	return string(body)
}

// cmdMany writes numbered files: many DIRECTORY N
func cmdMany(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	var n int
	_, err := fmt.Sscan(args[1], &n)
	ts.Check(err)
	for i := range n {
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%02d", i)), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
}
