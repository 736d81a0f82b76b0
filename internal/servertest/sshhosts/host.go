package sshhosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is one test host.
type Host struct {
	Name string // host1, host2, …
	Kind Kind
	Addr string // its address; sshd listens on Port
	Port int

	lab    *Lab
	index  int
	dir    string
	holder *exec.Cmd
	stdin  io.WriteCloser
	log    string
}

// prepare writes what the host's sshd needs into its directory.
func (h *Host) prepare(authorized []byte) error {
	keys := filepath.Join(h.dir, "keys")
	if err := os.MkdirAll(keys, 0o755); err != nil {
		return err
	}
	if h.lab.opts.Disk {
		if err := os.MkdirAll(filepath.Join(h.dir, "disk"), 0o755); err != nil {
			return err
		}
	}
	if _, err := writeKey(filepath.Join(keys, "hostkey")); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"authorized_keys": string(authorized),
		"sshd_config":     sshdConfig + strings.Join(h.lab.opts.SSHD, "\n") + "\n",
		"sshd.service":    sshdUnit,
		"init":            initScript,
	} {
		if err := os.WriteFile(filepath.Join(keys, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

const sshdConfig = `Port 22
HostKey /run/sshhost/hostkey
AuthorizedKeysFile /run/sshhost/authorized_keys .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
MaxStartups 200:30:400
Subsystem sftp internal-sftp
`

const sshdUnit = `[Unit]
Description=sshd of the test host
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /run/sshhost/sshd_config
Restart=no
`

// The init of hosts without systemd: starts sshd, and collects orphans.
const initScript = `#!/bin/sh
/usr/sbin/sshd -f /run/sshhost/sshd_config -E /run/sshd.log
while :; do sleep 86400 & wait $!; done
`

func (h *Host) link() string { return "h" + strconv.Itoa(h.index) }

// launch starts the host's holder, which waits to be plugged in.
func (h *Host) launch() error {
	h.log = filepath.Join(h.dir, "log")
	log, err := os.Create(h.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", filepath.Join(h.lab.Dir, "holder.sh"), h.dir, h.Name, string(h.Kind),
		strconv.Itoa(h.lab.opts.Size), h.Addr, h.lab.Gateway, h.lab.groupsOf()+strconv.Itoa(h.index))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS |
		syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	h.holder, h.stdin = cmd, stdin
	return nil
}

// kill ends the host with all its processes, as pulling the plug does.
func (h *Host) kill() {
	if h.holder == nil || h.holder.Process == nil {
		return
	}
	_ = h.stdin.Close()
	_ = h.holder.Process.Kill()
	_ = h.holder.Wait()
	h.holder = nil
}

func (h *Host) output() string {
	b, _ := os.ReadFile(h.log)
	return strings.TrimSpace(string(b))
}

// Address is the address with the port.
func (h *Host) Address() string { return net.JoinHostPort(h.Addr, strconv.Itoa(h.Port)) }

// WaitSSH waits until sshd answers.
func (h *Host) WaitSSH(end time.Duration) error {
	limit := time.Now().Add(end)
	var err error
	for time.Now().Before(limit) {
		if err = h.greet(); err == nil {
			return nil
		}
		if h.holder == nil || zombie(h.holder.Process.Pid) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer: %w: %s", h.Name, err, h.output())
}

func (h *Host) greet() error {
	conn, err := net.DialTimeout("tcp", h.Address(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 4)
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != "SSH-" {
		return fmt.Errorf("not SSH: %q", b)
	}
	return nil
}

// PID is the process of this machine that is the host's PID 1.
func (h *Host) PID() (int, error) {
	if h.holder == nil {
		return 0, fmt.Errorf("%s is not running", h.Name)
	}
	unshare, err := child(h.holder.Process.Pid, "unshare")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", h.Name, err)
	}
	init, err := child(unshare, "")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", h.Name, err)
	}
	return init, nil
}

// child finds a child process, by name if one is given.
func child(pid int, name string) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	for _, f := range strings.Fields(string(b)) {
		comm, _ := os.ReadFile("/proc/" + f + "/comm")
		if name == "" || strings.TrimSpace(string(comm)) == name {
			return strconv.Atoi(f)
		}
	}
	return 0, errors.New("not running (yet)")
}

// Exec runs a shell script as root on the host, not through SSH, and gives its
// output; what it wrote to its standard error is in the error.
func (h *Host) Exec(ctx context.Context, script string) (string, error) {
	pid, err := h.PID()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w",
		"/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %q: %w: %s%s", h.Name, script, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Sh is Exec for tests: it gives the output without the last newline, and a
// script that fails fails the test.
func (h *Host) Sh(t TB, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := h.Exec(ctx, script)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return strings.TrimSuffix(out, "\n")
}

// Root opens the host's root file system. Absolute symbolic links on the host
// can't be followed through it; Sh can.
func (h *Host) Root() (*os.Root, error) {
	pid, err := h.PID()
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
}

// ReadFile reads a file of the host, by its absolute path.
func (h *Host) ReadFile(path string) ([]byte, error) {
	root, err := h.Root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(strings.TrimPrefix(path, "/"))
}

// WriteFile writes a file of the host, by its absolute path: drift by hand.
func (h *Host) WriteFile(path string, data []byte, mode os.FileMode) error {
	root, err := h.Root()
	if err != nil {
		return err
	}
	defer root.Close()
	name := strings.TrimPrefix(path, "/")
	if err := root.WriteFile(name, data, mode); err != nil {
		return err
	}
	return root.Chmod(name, mode)
}
