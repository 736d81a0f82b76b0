package git

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the process into a group of its own, so that its children can
// be killed with it, and has it die with trueup.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
