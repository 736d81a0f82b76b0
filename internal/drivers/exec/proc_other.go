//go:build !linux

package exec

import (
	osexec "os/exec"
	"syscall"
)

// ownGroup gives a program a process group of its own and the account.
func ownGroup(c *osexec.Cmd, o *owner) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
}
