package tofu

import (
	"os/exec"
	"syscall"
)

// ownProcess puts a program into its own process group, as its own user. When
// trueup dies it is asked to stop, which lets it write its state.
func ownProcess(cmd *exec.Cmd, o *owner) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if o != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
}
