//go:build real

package host_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/servertest/sshhosts"
	"trueup.dev/trueup/internal/store"
)

// site is a real server with a repository, and real hosts that nobody can
// connect to: they have no sshd and listen to nothing.
type site struct {
	*testing.T
	dir, program, address, ca string
	lab                       *sshhosts.Lab
	repo                      *gitserver.Repo
	server                    *exec.Cmd
}

func newSite(t *testing.T, hosts int) *site {
	t.Helper()
	s := &site{T: t, dir: t.TempDir()}
	s.program = filepath.Join(s.dir, "trueup")
	build := exec.Command("go", "build", "-o", s.program, "trueup.dev/trueup/cmd/trueup")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s.lab = sshhosts.Start(t, hosts)
	for _, h := range s.lab.Hosts {
		s.ok(h.KillSSHD())
		s.until(h.Name+" listens to nothing", func() bool {
			return h.Sh(t, "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\"' | wc -l") == "0"
		})
		if c, err := net.DialTimeout("tcp", h.Address(), time.Second); err == nil {
			_ = c.Close()
			t.Fatalf("%s can be connected to", h.Name)
		}
		s.install(h)
	}
	s.certificate()
	s.repo = gitserver.NewRepoAt(t, filepath.Join(s.dir, "infra"))
	s.write("server.yaml", s.config())
	return s
}

// install puts the program and the unit's directory on a host.
func (s *site) install(h *sshhosts.Host) {
	s.Helper()
	b, err := os.ReadFile(s.program)
	s.ok(err)
	h.Sh(s, "mkdir -p /usr/local/bin /var/lib")
	s.ok(h.WriteFile("/usr/local/bin/trueup", b, 0o755))
}

func (s *site) config() string {
	var hosts []string
	for _, h := range s.lab.Hosts {
		hosts = append(hosts, fmt.Sprintf("%s: {agent: true, groups: [far]}", h.Name))
	}
	return fmt.Sprintf(`version: 1
listen: {http: %q, tlsCert: cert.pem, tlsKey: key.pem}
limits: {retryMin: 200ms, retryMax: 1s, lease: 3s}
repositories:
  infra: {url: %q, branch: main, poll: 1s}
policies:
  open: {driftInterval: 2s, guard: {update: 100, delete: 100, replace: 100}}
environments:
  far:
    driver: ssh
    policy: open
    connect: {hosts: {%s}}
    allow: [{repository: infra}]
`, s.address, s.repo.Dir, strings.Join(hosts, ", "))
}

// certificate makes the server's own, for its address on the hosts' network.
func (s *site) certificate() {
	s.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.lab.Gateway, "0"))
	s.ok(err)
	s.address = l.Addr().String()
	s.ok(l.Close())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.ok(err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "trueup"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(s.lab.Gateway)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	s.ok(err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	s.ok(err)
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write("cert.pem", s.ca)
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

func (s *site) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) write(name, text string) {
	s.Helper()
	s.ok(os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
}

func (s *site) until(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "server.log"))
	s.Fatalf("waited in vain: %s\n%s", what, log[max(0, len(log)-6000):])
}

func (s *site) cli(args ...string) string {
	s.Helper()
	cmd := exec.Command(s.program, append(args, "--config", "server.yaml", "--data-dir", filepath.Join(s.dir, "data"))...)
	cmd.Dir = s.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.Fatalf("trueup %v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

func (s *site) start() {
	s.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.ok(err)
	defer log.Close()
	s.server = exec.Command(s.program, "serve", "--log-format", "text", "--config", "server.yaml", "--data-dir", filepath.Join(s.dir, "data"))
	s.server.Dir, s.server.Stdout, s.server.Stderr = s.dir, log, log
	s.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.ok(s.server.Start())
	s.Cleanup(s.kill)
	s.until("the server answers", func() bool {
		c, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (s *site) kill() {
	if s.server != nil {
		_ = s.server.Process.Kill()
		_ = s.server.Wait()
		s.server = nil
	}
}

const agentRun = "setsid trueup agent run --away 3s --log-format text >>/var/log/agent.log 2>&1 </dev/null & echo $! >/run/agent.pid"

func (s *site) enrol(h *sshhosts.Host, token string) error {
	s.Helper()
	s.ok(h.WriteFile("/root/token", []byte(token), 0o600))
	s.ok(h.WriteFile("/root/ca.pem", []byte(s.ca), 0o600))
	_, err := h.Exec(s.Context(), "trueup agent enrol --server https://"+s.address+" --token-file /root/token --ca /root/ca.pem --host "+h.Name)
	return err
}

func (s *site) holds(h *sshhosts.Host, path, want string) func() bool {
	return func() bool {
		b, err := h.ReadFile(path)
		return err == nil && string(b) == want
	}
}

// runs lists the runs of the target, newest first.
func (s *site) runs() []store.Run {
	s.Helper()
	var out struct{ Items []store.Run }
	s.ok(json.Unmarshal([]byte(s.cli("get", "runs", "-o", "json")), &out))
	return out.Items
}

// TestHostsThatNobodyCanReach: the whole of it with the real program.
func TestHostsThatNobodyCanReach(t *testing.T) {
	s := newSite(t, 2)
	one, two := s.lab.Hosts[0], s.lab.Hosts[1]
	s.repo.Write("trueup.yaml", "version: 1\ntargets: [{name: far, environment: far, path: hosts}]\n")
	s.repo.Write("hosts/host.yaml", "files:\n  /etc/app.conf: {template: app.tmpl}\n  /etc/motd.app: {content: \"hello\\n\"}\n"+
		"perHost:\n  "+one.Name+":\n    files:\n      /etc/secret: {content: \"canary-of-one\\n\", mode: \"0600\", sensitive: true}\n")
	s.repo.Write("hosts/app.tmpl", "I am {{ .host.name }}\n")
	s.repo.Commit("first")
	s.start()

	token := strings.TrimSpace(s.cli("agent", "enrol-token", "--group", "far"))
	for _, h := range s.lab.Hosts {
		s.ok(s.enrol(h, token))
		if err := s.enrol(h, token); err == nil {
			t.Fatal("a token was good twice")
		}
		h.Sh(t, agentRun)
	}
	for _, h := range s.lab.Hosts {
		s.until(h.Name+" converges", s.holds(h, "/etc/app.conf", "I am "+h.Name+"\n"))
		s.until(h.Name+" has its motd", s.holds(h, "/etc/motd.app", "hello\n"))
	}
	s.until("one has its secret", s.holds(one, "/etc/secret", "canary-of-one\n"))
	if out, err := two.Exec(t.Context(), "grep -r canary-of-one /var/lib/trueup-agent /etc /var/log"); err == nil {
		t.Errorf("two holds what belongs to one: %s", out)
	}

	// Drift while the server runs is the server's to correct.
	s.ok(one.WriteFile("/etc/motd.app", []byte("by hand\n"), 0o644))
	s.until("drift is corrected", s.holds(one, "/etc/motd.app", "hello\n"))

	s.until("the agents know what they may do alone", func() bool {
		return strings.Contains(one.Sh(t, "cat /var/lib/trueup-agent/kept/*.json"), `"correct":true`)
	})
	s.kill()
	s.ok(one.WriteFile("/etc/motd.app", []byte("while the server is away\n"), 0o644))
	one.Sh(t, "rm /etc/app.conf; echo theirs >/etc/foreign")
	s.until("drift is corrected without the server", s.holds(one, "/etc/motd.app", "hello\n"))
	s.until("a removed file comes back", s.holds(one, "/etc/app.conf", "I am "+one.Name+"\n"))
	if !s.holds(one, "/etc/foreign", "theirs\n")() {
		t.Error("what others put there is gone")
	}
	s.start()
	s.until("what was done alone is in the history", func() bool {
		for _, r := range s.runs() {
			if r.Actor == store.Actor("agent:"+one.Name) && r.Cause == "drift" && r.State == store.RunSucceeded {
				return true
			}
		}
		return false
	})

	// A killed agent, in the middle of whatever it does, and a change meanwhile.
	one.Sh(t, "kill -9 $(cat /run/agent.pid)")
	s.repo.Write("hosts/app.tmpl", "I am still {{ .host.name }}\n")
	s.repo.Commit("second")
	s.until("the other host goes on", s.holds(two, "/etc/app.conf", "I am still "+two.Name+"\n"))
	one.Sh(t, agentRun)
	s.until("the killed one converges", s.holds(one, "/etc/app.conf", "I am still "+one.Name+"\n"))

	s.cli("agent", "revoke", two.Name, "--reason", "test")
	s.repo.Write("hosts/app.tmpl", "third {{ .host.name }}\n")
	s.repo.Commit("third")
	s.until("the one that is let in gets it", s.holds(one, "/etc/app.conf", "third "+one.Name+"\n"))
	s.until("the revoked one is told", func() bool { return strings.Contains(two.Sh(t, "cat /var/log/agent.log"), "revoked") })
	if !s.holds(two, "/etc/app.conf", "I am still "+two.Name+"\n")() {
		t.Error("a revoked agent got something")
	}
	for _, h := range s.lab.Hosts {
		h.Sh(t, "kill $(cat /run/agent.pid)")
	}
}

// TestBothDieInTheMiddle kills agent and server again and again while they
// work; then everything comes to where it should be.
func TestBothDieInTheMiddle(t *testing.T) {
	s := newSite(t, 1)
	h := s.lab.Hosts[0]
	s.repo.Write("trueup.yaml", "version: 1\ntargets: [{name: far, environment: far, path: hosts}]\n")
	content := func(n int) {
		doc := "files:\n"
		for i := range 40 {
			doc += fmt.Sprintf("  /srv/app/f%02d: {content: \"%d\\n\"}\n", i, n)
		}
		s.repo.Write("hosts/host.yaml", "directories: {/srv/app: {}}\n"+doc)
		s.repo.Commit(fmt.Sprint(n))
	}
	content(0)
	s.start()
	s.ok(s.enrol(h, strings.TrimSpace(s.cli("agent", "enrol-token", h.Name))))
	h.Sh(t, agentRun)
	s.until("it converges", s.holds(h, "/srv/app/f39", "0\n"))
	for n := 1; n <= 6; n++ {
		content(n)
		time.Sleep(time.Duration(900+n*150) * time.Millisecond) // some place in poll, plan or apply
		if n%2 == 0 {
			s.kill()
			s.start()
		} else {
			h.Sh(t, "kill -9 $(cat /run/agent.pid)")
			h.Sh(t, agentRun)
		}
	}
	for i := range 40 {
		s.until("all files are there", s.holds(h, fmt.Sprintf("/srv/app/f%02d", i), "6\n"))
	}
	s.until("the server says so", func() bool { return strings.Contains(s.cli("get", "targets"), "synced") })
	if left := h.Sh(t, "find /srv/app -name '.trueup*' | wc -l"); left != "0" {
		t.Logf("%s unfinished files wait to be swept", left)
	}
	h.Sh(t, "kill $(cat /run/agent.pid)")
}
