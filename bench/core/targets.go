package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"trueup.dev/trueup/bench/measure"
)

// scene is a repository with many targets, each one file in one directory, and
// a server that keeps them.
type scene struct {
	dir, site, bin string
	n              int
	many           bool // one trueup.yaml per directory
	addr           string
	server         *measure.Process
}

func (s *scene) app(i int) string { return fmt.Sprintf("app-%05d", i) }

// target gives one target's entry of a trueup.yaml.
func target(name, path string) string {
	return fmt.Sprintf("  - { name: %s, environment: web, path: %s }\n", name, path)
}

func (s *scene) write(path, body string) error {
	path = filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(body), 0o644)
}

func (s *scene) git(args ...string) error {
	cmd := exec.Command("git", append([]string{"-C", filepath.Join(s.dir, "work"), "-c", "user.name=bench", "-c", "user.email=bench@example.com"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// prepare makes the repository and the operator's file.
func (s *scene) prepare() error {
	all := "version: 1\ntargets:\n"
	for i := range s.n {
		app := s.app(i)
		if err := s.write("work/apps/"+app+"/"+app+".txt", "first\n"); err != nil {
			return err
		}
		if !s.many {
			all += target(app, "apps/"+app)
			continue
		}
		// A manifest stands beside its content: the path is a directory below.
		if err := s.write("work/apps/"+app+"/trueup.yaml", "version: 1\ntargets:\n"+target(app, "files")); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(s.dir, "work/apps", app, "files"), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(s.dir, "work/apps", app, app+".txt"), filepath.Join(s.dir, "work/apps", app, "files", app+".txt")); err != nil {
			return err
		}
	}
	if !s.many {
		if err := s.write("work/trueup.yaml", all); err != nil {
			return err
		}
	}
	s.site = filepath.Join(s.dir, "site")
	if err := os.Mkdir(s.site, 0o755); err != nil {
		return err
	}
	return s.publish()
}

func (s *scene) publish() error {
	bare := filepath.Join(s.dir, "infra.git")
	if out, err := exec.Command("git", "init", "-q", "--bare", "-b", "main", bare).CombinedOutput(); err != nil {
		return fmt.Errorf("git init: %w: %s", err, out)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-qm", "first"}, {"push", "-q", bare, "main"}} {
		if err := s.git(args...); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	_ = l.Close()
	return s.write("server.yaml", fmt.Sprintf(`version: 1
dataDir: %s/data
listen: { http: %q }
repositories:
  infra: { url: %q, branch: main, poll: 1h, webhookSecrets: ["env:HOOK_SECRET"] }
policies:
  quiet: { driftInterval: 24h }
environments:
  web:
    driver: files
    policy: quiet
    concurrency: 8
    connect: { root: %q }
    allow: [{ repository: infra }]
`, s.dir, s.addr, bare, s.site))
}

const hookSecret = "benchmark-hook-secret-0123456789"

// start starts the server and gives the time until it is ready.
func (s *scene) start() (time.Duration, error) {
	if err := os.Setenv("HOOK_SECRET", hookSecret); err != nil {
		return 0, err
	}
	begin := time.Now()
	var err error
	if s.server, err = measure.StartProcess(filepath.Join(s.dir, "serve.log"), s.bin, "serve", "--config", filepath.Join(s.dir, "server.yaml")); err != nil {
		return 0, err
	}
	err = s.server.Wait("ready", time.Minute, func() bool {
		r, err := http.Get("http://" + s.addr + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return time.Since(begin), err
}

// settle waits until every target's file is there and the server is idle.
func (s *scene) settle() error {
	err := s.server.Wait("first state", 30*time.Minute, func() bool {
		time.Sleep(200 * time.Millisecond)
		d, err := os.ReadDir(s.site)
		return err == nil && len(d) >= s.n
	})
	if err != nil {
		return err
	}
	return s.idle()
}

// idle waits until the server uses no CPU to speak of for two seconds.
func (s *scene) idle() error {
	return s.server.Wait("idle", 10*time.Minute, func() bool {
		before := s.server.CPU()
		time.Sleep(2 * time.Second)
		return s.server.CPU()-before <= 60*time.Millisecond
	})
}

// hook tells the server of a push, signed.
func (s *scene) hook() error {
	body, err := json.Marshal(map[string]string{"ref": "refs/heads/main"})
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	_, _ = mac.Write(body)
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/webhook/infra", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode >= 300 {
		return fmt.Errorf("the webhook answered %s", r.Status)
	}
	return nil
}

// push changes one target's file and gives the time from the webhook until
// the file is in the directory.
func (s *scene) push(round int) (measure.Cost, error) {
	app := s.app(round * 7 % s.n)
	file := "apps/" + app + "/" + app + ".txt"
	if s.many {
		file = "apps/" + app + "/files/" + app + ".txt"
	}
	want := fmt.Sprintf("round %d\n", round)
	if err := s.write("work/"+file, want); err != nil {
		return measure.Cost{}, err
	}
	if err := s.git("commit", "-qam", fmt.Sprintf("round %d", round)); err != nil {
		return measure.Cost{}, err
	}
	if err := s.git("push", "-q", filepath.Join(s.dir, "infra.git"), "main"); err != nil {
		return measure.Cost{}, err
	}
	cpu, begin := s.server.CPU(), time.Now()
	if err := s.hook(); err != nil {
		return measure.Cost{}, err
	}
	err := s.server.Wait("the pushed file", time.Minute, func() bool {
		b, err := os.ReadFile(filepath.Join(s.site, app+".txt"))
		return err == nil && string(b) == want
	})
	wall := time.Since(begin)
	if err != nil {
		return measure.Cost{}, err
	}
	time.Sleep(time.Second) // what the server does afterwards counts as well
	return measure.Cost{Wall: wall, CPU: s.server.CPU() - cpu}, nil
}

// nothing lets the server poll without anything new, and gives the CPU of one
// such poll.
func (s *scene) nothing() (time.Duration, error) {
	const polls = 20
	before := s.server.CPU()
	for range polls {
		if err := s.hook(); err != nil {
			return 0, err
		}
		time.Sleep(300 * time.Millisecond)
	}
	return (s.server.CPU() - before) / polls, nil
}
