// Package gitea starts a real Gitea on a free loopback port, on SQLite, in a
// directory of its own, for tests and benchmarks:
//
//	s := gitea.Start(t) // built into the cache directory the first time
//	ann := s.User("ann")
//	s.Org("acme")
//	s.Team("acme", "sre", "write", ann)
//	repo := s.Repo("acme/infra", map[string]string{"trueup.yaml": "version: 1\n"})
//	s.Protect(repo, gitea.Protection{Branch: "main", Statuses: []string{"trueup/plan"}, Approvals: 1})
//	ann.Commit(repo, "main", "change", "add www", map[string]string{"zone": "..."}) // a new branch
//	n := ann.Pull(repo, "change", "main", "Add www")
//	err := ann.Merge(repo, n) // refused while a status is missing
//	url := ann.CloneURL(repo) // for git, with the account's token
//	err = s.Admin.API("GET", "/repos/acme/infra/pulls/1", nil, &into) // whatever else
//
// Lists of its API come in pages of ten, so that paging is met early. Webhooks
// may be delivered to loopback addresses. The server stops with the
// test, also when the test process dies. It is shared well by the tests of a
// package: start it once in TestMain with StartIn, and give each test its own
// repository.
package gitea

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/servertest/built"
)

// Server is a running Gitea.
type Server struct {
	URL   string // http://127.0.0.1:PORT
	Dir   string
	Admin *Account // an administrator of the whole server

	t       TB
	program string
	cmd     *exec.Cmd
	done    chan struct{}
}

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start starts a server and stops it when the test ends.
func Start(t TB) *Server {
	t.Helper()
	s, err := StartIn(t.TempDir())
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(s.Stop)
	return s.For(t)
}

// For gives the server to a test: the helpers that make things fail that test
// when they can't.
func (s *Server) For(t TB) *Server {
	c := *s
	c.t = t
	c.Admin = &Account{Name: s.Admin.Name, Password: s.Admin.Password, Token: s.Admin.Token, server: &c}
	return &c
}

// StartIn starts a server with its data in a directory.
func StartIn(dir string) (*Server, error) {
	program, static, err := build()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), Dir: dir, program: program}
	s.Admin = &Account{Name: "root1", Password: password, server: s}
	if err := s.configure(port, static); err != nil {
		return nil, err
	}
	if _, err := s.run("migrate"); err != nil {
		return nil, err
	}
	out, err := s.run("admin", "user", "create", "--username", s.Admin.Name, "--password", password, "--email", s.Admin.Name+"@example.test",
		"--admin", "--must-change-password=false", "--access-token", "--access-token-name", "t", "--access-token-scopes", "all")
	if err != nil {
		return nil, err
	}
	if s.Admin.Token = regexp.MustCompile(`[0-9a-f]{40}`).FindString(out); s.Admin.Token == "" {
		return nil, fmt.Errorf("gitea gave no token: %s", out)
	}
	return s, s.Start()
}

// password of every account.
const password = "Passw0rd!x"

// Start starts a stopped server again, on the same port and directory.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "web.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command("web")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() { _ = cmd.Wait(); close(done) }()
	return s.await()
}

// await waits until the server answers.
func (s *Server) await() error {
	client := http.Client{Timeout: 5 * time.Second}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if resp, err := client.Get(s.URL + "/api/healthz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("gitea ended while it started:\n%s", s.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.Stop()
	return fmt.Errorf("gitea does not get ready:\n%s", s.Log())
}

// Stop ends the server; it may be called twice, and Start starts it again.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(15 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

// Log gives what the server wrote.
func (s *Server) Log() string {
	a, _ := os.ReadFile(filepath.Join(s.Dir, "web.log"))
	b, _ := os.ReadFile(filepath.Join(s.Dir, "log", "gitea.log"))
	return string(a) + string(b)
}

func (s *Server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, append([]string{"--config", s.Dir + "/app.ini", "--work-path", s.Dir}, args...)...)
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "USER=" + os.Getenv("USER"), "TMPDIR=" + os.TempDir()}
	return cmd
}

func (s *Server) run(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gitea %s: %w\n%s", args[0], err, out)
	}
	return string(out), nil
}

// Program gives the path of Gitea's program, and builds it when it is not in
// the cache directory.
func Program() (string, error) {
	program, _, err := build()
	return program, err
}

// build runs scripts/gitea.sh, which is quick when the program is there.
func build() (program, static string, err error) {
	lines, err := built.Script("gitea.sh")
	if err != nil {
		return "", "", err
	}
	if len(lines) != 2 {
		return "", "", fmt.Errorf("scripts/gitea.sh printed %q", lines)
	}
	return lines[0], lines[1], nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) configure(port int, static string) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	ini := fmt.Sprintf(`RUN_MODE = prod
RUN_USER = %s
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = %s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %d
DOMAIN = 127.0.0.1
ROOT_URL = %s/
STATIC_ROOT_PATH = %s
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false
GRACEFUL_HAMMER_TIME = 5s
[database]
DB_TYPE = sqlite3
PATH = %s/gitea.db
SQLITE_TIMEOUT = 20000
[security]
INSTALL_LOCK = true
SECRET_KEY = 0123456789abcdef0123456789abcdef
INTERNAL_TOKEN = eyJ0ZXN0IjoidGhpcyBpcyBhIHRlc3Qgc2VydmVyIG9uIGxvb3BiYWNrIn0.internal.token
PASSWORD_HASH_ALGO = pbkdf2$1000$50
[oauth2]
ENABLED = false
JWT_SECRET = MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY
[webhook]
ALLOWED_HOST_LIST = loopback
DELIVER_TIMEOUT = 10
[service]
DISABLE_REGISTRATION = true
[indexer]
ISSUE_INDEXER_TYPE = db
[log]
MODE = file
LEVEL = Warn
ROOT_PATH = %s/log
[api]
MAX_RESPONSE_ITEMS = 10
DEFAULT_PAGING_NUM = 10
[actions]
ENABLED = false
[cron]
ENABLED = false
[packages]
ENABLED = false
[repository]
DEFAULT_BRANCH = main
`, u.Username, s.Dir, port, s.URL, static, s.Dir, s.Dir)
	return os.WriteFile(filepath.Join(s.Dir, "app.ini"), []byte(ini), 0o600)
}
