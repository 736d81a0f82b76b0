package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const (
	stopSignal = syscall.SIGINT  // disconnects clients, ends in order
	killSignal = syscall.SIGQUIT // ends at once; the next start recovers
)

// account is whom the server runs as; initdb and postgres refuse root.
type account struct {
	uid, gid int
	other    bool // not the account of this process
}

func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.Atoi(u.Uid)
		gid, errG := strconv.Atoi(u.Gid)
		if err := errors.Join(errU, errG); err != nil {
			return account{}, err
		}
		return account{uid: uid, gid: gid, other: true}, nil
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

func (a account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: killSignal}
	if a.other {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// process is a started server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// launch starts the command from a thread that lives as long as the command:
// Pdeathsig follows the thread, not the process.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	return p, <-started
}

func (p *process) end(first, second syscall.Signal) error {
	for _, s := range []syscall.Signal{first, second, syscall.SIGKILL} {
		if err := p.cmd.Process.Signal(s); errors.Is(err, os.ErrProcessDone) {
			<-p.done
			return nil
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(10 * time.Second):
		}
	}
	return fmt.Errorf("PostgreSQL, pid %d, does not end", p.cmd.Process.Pid)
}
