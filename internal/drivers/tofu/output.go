package tofu

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// applyLog is what the last apply printed. It stays when an apply did not come
// to a proper end.
const applyLog = "apply.log"

// output says where a program prints to. One that writes prints to a file: if
// it had a pipe to trueup, it would die with trueup before its state is
// written.
func (w *work) output(cmd *exec.Cmd, c invocation) (io.Reader, error) {
	if !c.gentle {
		return cmd.StdoutPipe()
	}
	out, err := os.OpenFile(w.path(applyLog), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	in, err := os.Open(w.path(applyLog))
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	return &following{file: in, ended: make(chan struct{}), out: out}, nil
}

// following reads a file that grows until its writer has ended.
type following struct {
	file, out *os.File
	ended     chan struct{}
	last      bool
}

const followEvery = 25 * time.Millisecond

// Read waits for more.
func (f *following) Read(p []byte) (int, error) {
	for {
		n, err := f.file.Read(p)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if f.last {
			_ = f.out.Close()
			return 0, io.EOF
		}
		select {
		case <-f.ended:
			f.last = true // what was printed before the end is read once more
		case <-time.After(followEvery):
		}
	}
}

// uncertain lists resources that an apply began and that nobody knows the end
// of, because the program was killed.
func (w *work) uncertain() map[plan.Address]bool {
	f, err := os.Open(w.path(applyLog))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	open, forced := map[plan.Address]bool{}, false
	br := bufio.NewReader(f)
	for {
		text, err := readLine(br)
		var l progress
		if json.Unmarshal(text, &l) == nil && l.Hook != nil {
			switch l.Type {
			case "apply_start":
				open[plan.Address(l.Hook.Resource.Addr)] = true
			case "apply_errored":
				if !forced {
					delete(open, plan.Address(l.Hook.Resource.Addr))
				}
			case "apply_complete":
				delete(open, plan.Address(l.Hook.Resource.Addr))
			}
		}
		// A provider that was told twice to stop ends without knowing.
		forced = forced || l.Diagnostic != nil && l.Diagnostic.Summary == "operation canceled"
		if err != nil {
			return open
		}
	}
}
