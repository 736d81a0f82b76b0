//go:build !linux

package tofu

import (
	"os/exec"
	"syscall"
)

// ownProcess puts a program into its own process group, as its own user.
func ownProcess(cmd *exec.Cmd, o *owner, _ bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
}
