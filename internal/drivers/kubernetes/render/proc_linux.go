package render

import (
	"os/exec"
	"syscall"
)

// alone puts a child into a process group of its own; it dies with trueup.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// limitData bounds what this process may allocate at all, for what is asked
// for at once and in one piece.
func limitData(bound uint64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: bound, Max: bound})
}
