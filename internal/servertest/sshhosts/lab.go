// Package sshhosts starts real OpenSSH hosts for tests and benchmarks, on one
// Linux machine, without a container engine. Each host has its own file system
// (an overlay of this machine's root, or a small one), its own network, host
// name and processes, and can be cut off, rebooted and looked into without SSH.
// All of it ends with the process that started it. It needs root.
package sshhosts

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed holder.sh root.sh boot.sh
var scripts embed.FS

// Kind is the kind of a host's root file system.
type Kind string

// The kinds of hosts.
const (
	Debian    Kind = "debian"    // an overlay of this machine's root; no service manager
	Systemd   Kind = "systemd"   // the same with a real systemd as PID 1
	Busybox   Kind = "busybox"   // busybox and sshd, nothing else
	Coreutils Kind = "coreutils" // dash, coreutils and sshd: no grep, sed, awk or find
)

// Options say which hosts to start.
type Options struct {
	Hosts []Kind
	// Size bounds what each host may write outside of Disk, in megabytes; 0 means 256.
	Size int
	// Disk gives each Debian or systemd host a directory of this machine's disk at /srv/disk.
	Disk bool
	// SSHD are further lines for each host's sshd_config.
	SSHD []string
}

// Of gives n hosts of one kind.
func Of(n int, kind Kind) []Kind {
	out := make([]Kind, n)
	for i := range out {
		out[i] = kind
	}
	return out
}

// Lab is a number of hosts on a network of their own.
type Lab struct {
	Hosts      []*Host
	Dir        string
	Key        string // path of the private key that root and all users of the hosts accept
	KnownHosts string // path of a known_hosts file with all hosts
	Gateway    string // this machine's address on the hosts' network, for servers that hosts ask

	opts    Options
	network *exec.Cmd
	stdin   io.Closer
	subnet  int
	once    sync.Once
}

// TB is the part of testing.TB that is used here.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start starts n Debian hosts for a test.
func Start(t TB, n int) *Lab {
	t.Helper()
	return StartWith(t, Options{Hosts: Of(n, Debian)})
}

// StartWith starts hosts for a test.
func StartWith(t TB, o Options) *Lab {
	t.Helper()
	l, err := Run(t.TempDir(), o)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(l.Stop)
	return l
}

// Run starts hosts in an empty directory and waits until all answer.
func Run(dir string, o Options) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("test hosts need root: they have mounts and networks of their own")
	}
	if o.Size == 0 {
		o.Size = 256
	}
	l := &Lab{Dir: dir, opts: o, Key: filepath.Join(dir, "id_ed25519"), KnownHosts: filepath.Join(dir, "known_hosts")}
	if err := l.start(); err != nil {
		l.Stop()
		return nil, fmt.Errorf("test hosts: %w", err)
	}
	return l, nil
}

func (l *Lab) start() error {
	if err := need(l.opts.Hosts); err != nil {
		return err
	}
	removeGroups("")
	for _, name := range []string{"holder.sh", "root.sh", "boot.sh"} {
		b, err := scripts.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(l.Dir, name), b, 0o644); err != nil {
			return err
		}
	}
	if err := l.startNetwork(); err != nil {
		return err
	}
	if err := l.makeHosts(); err != nil {
		return err
	}
	if err := l.eachHost((*Host).launch); err != nil {
		return err
	}
	if err := l.plugIn(); err != nil {
		return err
	}
	return l.eachHost(func(h *Host) error { return h.WaitSSH(2 * time.Minute) })
}

// eachHost calls f for all hosts, some at a time, and joins what went wrong.
func (l *Lab) eachHost(f func(*Host) error) error {
	errs := make([]error, len(l.Hosts))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, h := range l.Hosts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = f(h)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *Lab) makeHosts() error {
	if len(l.opts.Hosts) > 200 {
		return errors.New("at most 200 hosts")
	}
	public, err := writeKey(l.Key)
	if err != nil {
		return err
	}
	for i, kind := range l.opts.Hosts {
		h := &Host{Name: fmt.Sprintf("host%d", i+1), Kind: kind, Addr: fmt.Sprintf("198.18.%d.%d", l.subnet, i+11),
			Port: 22, lab: l, index: i + 1}
		h.dir = filepath.Join(l.Dir, h.Name)
		if err := h.prepare(public); err != nil {
			return err
		}
		l.Hosts = append(l.Hosts, h)
	}
	return l.writeKnownHosts()
}

// Stop ends all hosts and the network; it may be called twice.
func (l *Lab) Stop() {
	l.once.Do(func() {
		for _, h := range l.Hosts {
			h.kill()
		}
		if l.stdin != nil {
			_ = l.stdin.Close()
		}
		if l.network != nil && l.network.Process != nil {
			_ = l.network.Process.Kill()
			_ = l.network.Wait()
		}
		removeGroups(l.groupsOf())
	})
}

// Host gives a host by its name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// startNetwork makes a network namespace with a bridge, and a cable from it to
// this machine. All of it vanishes with the process that holds the namespace.
func (l *Lab) startNetwork() error {
	cmd := exec.Command("/bin/sh", "-c", "read -r _")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("a network of its own: %w", err)
	}
	l.network, l.stdin = cmd, stdin
	pid := strconv.Itoa(cmd.Process.Pid)
	// 198.18.0.0/15 is set aside for tests of networks; a taken name means a taken subnet.
	for n := range 254 {
		name := "tuhosts" + strconv.Itoa(n)
		if used(n) {
			continue
		}
		if run("", "ip", "link", "add", name, "type", "veth", "peer", "name", "uplink", "netns", pid) != nil {
			continue
		}
		l.subnet, l.Gateway = n, fmt.Sprintf("198.18.%d.1", n)
		if err := run("address add "+l.Gateway+"/24 dev "+name+"\nlink set "+name+" up\n", "ip", "-batch", "-"); err != nil {
			return err
		}
		return l.ip("link add hosts type bridge\nlink set uplink master hosts\nlink set uplink up\nlink set hosts up\nlink set lo up\n")
	}
	return errors.New("no free network name tuhosts0 to tuhosts253")
}

// used says whether an address of the subnet is on another network.
func used(n int) bool {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if strings.HasPrefix(a.String(), fmt.Sprintf("198.18.%d.", n)) {
			return true
		}
	}
	return false
}

// plugIn connects all hosts to the bridge.
func (l *Lab) plugIn() error {
	var batch strings.Builder
	for _, h := range l.Hosts {
		fmt.Fprintf(&batch, "link add %s type veth peer name eth0 netns %d\nlink set %[1]s master hosts\nlink set %[1]s up\n",
			h.link(), h.holder.Process.Pid)
	}
	if err := l.ip(batch.String()); err != nil {
		return err
	}
	for _, h := range l.Hosts {
		if _, err := io.WriteString(h.stdin, "go\n"); err != nil {
			return fmt.Errorf("%s: %w: %s", h.Name, err, h.output())
		}
	}
	return nil
}

// ip runs commands of ip(8) in the network's namespace.
func (l *Lab) ip(batch string) error {
	return run(batch, "nsenter", "-t", strconv.Itoa(l.network.Process.Pid), "-n", "ip", "-batch", "-")
}

func run(stdin string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// need says which programs are missing.
func need(kinds []Kind) error {
	programs := map[string]string{"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "sshd": "openssh-server"}
	for _, k := range kinds {
		switch k {
		case Debian, Coreutils:
		case Systemd:
			programs["/lib/systemd/systemd"] = "systemd"
		case Busybox:
			programs["busybox"] = "busybox-static"
		default:
			return fmt.Errorf("no kind of host %q", k)
		}
	}
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if _, err := os.Stat("/usr/sbin/" + program); err != nil {
				return fmt.Errorf("%s is not installed: apt-get install --no-install-recommends %s", program, pkg)
			}
		}
	}
	return nil
}
