package measure

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a server that runs beside the benchmark.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  *os.File
}

// StartProcess starts a program with its output in a file.
func StartProcess(log string, args ...string) (*Process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{}), log: f}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// Stop ends it and waits.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	_ = p.log.Close()
}

// Alive says with an error that it ended.
func (p *Process) Alive() error {
	select {
	case <-p.done:
		b, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("%s ended: %s", p.cmd.Args[0], tail(string(b)))
	default:
		return nil
	}
}

// CPU is the time that the process and its finished children have used.
func (p *Process) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest) // from field 3 (state) of proc(5) on
	if len(f) < 15 {
		return 0
	}
	var ticks int64
	for _, s := range f[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// Resident is the process's memory now, in bytes.
func (p *Process) Resident() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// Wait polls until ready gives true, or says what took too long.
func (p *Process) Wait(what string, end time.Duration, ready func() bool) error {
	limit := time.Now().Add(end)
	for !ready() {
		if err := p.Alive(); err != nil {
			return err
		}
		if time.Now().After(limit) {
			b, _ := os.ReadFile(p.log.Name())
			return fmt.Errorf("%s: not within %s: %s", what, end, tail(string(b)))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
