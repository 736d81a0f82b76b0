package tofu

import (
	"os/exec"
	"syscall"
)

// ownProcess puts a program into its own process group, as its own user. One
// that only reads dies with trueup. One that writes goes on to its end and
// writes its state; the next run waits for it.
func ownProcess(cmd *exec.Cmd, o *owner, outlives bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !outlives {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if o != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
}
