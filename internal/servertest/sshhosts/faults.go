package sshhosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// KillSSHD ends the host's sshd with all its connections; the host lives on.
func (h *Host) KillSSHD() error {
	init, err := h.PID()
	if err != nil {
		return err
	}
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	if err != nil {
		return err
	}
	// Again until none is left: a connection may just have started another.
	for range 100 {
		n := 0
		for _, pid := range processes() {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if !strings.HasPrefix(string(comm), "sshd") || zombie(pid) {
				continue
			}
			if l, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && l == ns {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				n++
			}
		}
		if n == 0 {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s: sshd would not end", h.Name)
}

func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// StartSSHD starts sshd again after KillSSHD, and waits until it answers.
func (h *Host) StartSSHD() error {
	script := "/usr/sbin/sshd -f /run/sshhost/sshd_config -E /run/sshd.log"
	if h.Kind == Systemd {
		script = "systemctl restart test-sshd.service"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := h.Exec(ctx, script); err != nil {
		return err
	}
	return h.WaitSSH(time.Minute)
}

// DropNetwork pulls the host's network cable: packets are lost, connections
// hang, nothing is told.
func (h *Host) DropNetwork() error { return h.lab.ip("link set " + h.link() + " down\n") }

// RestoreNetwork plugs it in again.
func (h *Host) RestoreNetwork() error { return h.lab.ip("link set " + h.link() + " up\n") }

// BootID is the host's boot id, which changes with each boot.
func (h *Host) BootID() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := h.Exec(ctx, "cat /proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(out), err
}

// Reboot cuts the host's power and boots it again; its files stay, /run and
// /tmp are empty. It waits for sshd. A
// "reboot -f" on the host, or "systemctl reboot" with systemd, does the same.
func (h *Host) Reboot() error {
	init, err := h.PID()
	if err != nil {
		return err
	}
	before, err := h.BootID()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := syscall.Kill(init, syscall.SIGKILL); err != nil {
		return err
	}
	return h.WaitReboot(ctx, before)
}

// WaitReboot waits until the host is up with a boot id other than the one given.
func (h *Host) WaitReboot(ctx context.Context, before string) error {
	for {
		if id, err := h.BootID(); err == nil && id != before {
			return h.WaitSSH(time.Minute)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come back: %w: %s", h.Name, ctx.Err(), h.output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// HoldReboot keeps the host down when it reboots next, until release is called.
func (h *Host) HoldReboot() (release func() error, err error) {
	hold := filepath.Join(h.dir, "hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(hold); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}, nil
}

// NewHostKey gives the host another key than known_hosts says, as a stranger
// in its place would have.
func (h *Host) NewHostKey() error {
	if _, err := writeKey(filepath.Join(h.dir, "keys", "hostkey")); err != nil {
		return err
	}
	if err := h.KillSSHD(); err != nil {
		return err
	}
	return h.StartSSHD()
}

// AddUser makes a user who may log in with the lab's key. With sudo "all" they
// may run everything as root; with a password they have to give it to sudo.
func (h *Host) AddUser(name string, sudo bool, password string) error {
	script := "useradd -m -s /bin/sh " + name + "\nusermod -p '*' " + name + "\n"
	if sudo {
		tag := "NOPASSWD: "
		if password != "" {
			tag = ""
			script += "echo '" + name + ":" + password + "' | chpasswd\n"
		}
		script += "mkdir -p /etc/sudoers.d\necho '" + name + " ALL=(ALL) " + tag + "ALL' >/etc/sudoers.d/" + name +
			"\nchmod 440 /etc/sudoers.d/" + name + "\n"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := h.Exec(ctx, "set -e\n"+script)
	return err
}
