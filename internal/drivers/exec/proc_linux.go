package exec

import (
	osexec "os/exec"
	"syscall"
)

// ownGroup gives a program a process group of its own, the account, and an end
// that comes with ours.
func ownGroup(c *osexec.Cmd, o *owner) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if o != nil {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
}
