package sshserver

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session serves one session channel: a command or the sftp subsystem.
func (s *Server) session(c net.Conn, nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	var cmd *exec.Cmd
	ended := make(chan int, 1)
	for {
		select {
		case status := <-ended:
			_, _ = ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status)))
			return
		case req, ok := <-reqs:
			if !ok {
				// As sshd does: the command is not ended, its pipes are.
				if cmd != nil {
					_ = ch.Close()
					<-ended
				}
				return
			}
			switch req.Type {
			case "exec":
				cmd = s.command(c, ch, text(req.Payload), ended)
				_ = req.Reply(cmd != nil, nil)
			case "subsystem":
				_ = req.Reply(text(req.Payload) == "sftp", nil)
				go func() { ended <- s.serveSFTP(c, ch) }()
			case "signal":
				if cmd != nil && text(req.Payload) == "KILL" {
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				}
			default:
				if req.WantReply {
					_ = req.Reply(req.Type == "env", nil)
				}
			}
		}
	}
}

func text(payload []byte) string {
	if len(payload) < 4 {
		return ""
	}
	return string(payload[4:])
}

// command starts a command in a session of its own, as sshd does.
func (s *Server) command(c net.Conn, ch ssh.Channel, line string, ended chan<- int) *exec.Cmd {
	cmd := exec.Command(s.cfg.Wrap[0], append(s.cfg.Wrap[1:len(s.cfg.Wrap):len(s.cfg.Wrap)], line)...)
	cmd.Env = append(os.Environ(), s.cfg.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var out io.Writer = ch
	if s.cfg.CutOutput != nil && s.cfg.CutOutput.Load() > 0 {
		out = &cutter{w: ch, left: s.cfg.CutOutput, conn: c}
	}
	cmd.Stdout, cmd.Stderr = out, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return nil
	}
	go func() {
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	}()
	go func() {
		_ = cmd.Wait()
		ended <- cmd.ProcessState.ExitCode() & 0xff
	}()
	return cmd
}

// cutter ends the connection in the middle of the output.
type cutter struct {
	w    io.Writer
	left *atomic.Int64
	conn net.Conn
}

func (c *cutter) Write(p []byte) (int, error) {
	left := c.left.Add(-int64(len(p)))
	if left >= 0 {
		return c.w.Write(p)
	}
	n := max(0, int(left)+len(p))
	_, _ = c.w.Write(p[:n])
	_ = c.conn.Close()
	return n, io.ErrClosedPipe
}

func (s *Server) serveSFTP(c net.Conn, ch ssh.Channel) int {
	rwc := struct {
		io.Reader
		io.Writer
		io.Closer
	}{ch, ch, ch}
	if s.cfg.CutOutput != nil && s.cfg.CutOutput.Load() > 0 {
		rwc.Writer = &cutter{w: ch, left: s.cfg.CutOutput, conn: c}
	}
	srv, err := sftp.NewServer(rwc)
	if err != nil {
		return 1
	}
	_ = srv.Serve()
	_ = srv.Close()
	return 0
}

// forward serves a connection to a third host.
func forward(nc ssh.NewChannel) {
	var to struct {
		Host  string
		Port  uint32
		From  string
		FromP uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &to); err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, "bad request")
		return
	}
	out, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer out.Close()
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(reqs)
	go func() {
		_, _ = io.Copy(out, ch)
		_ = out.Close()
	}()
	_, _ = io.Copy(ch, out)
}
