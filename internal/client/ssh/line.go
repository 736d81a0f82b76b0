package ssh

import (
	"strings"
	"sync"
)

// line is what is sent to the login shell.
func (r *running) line() string {
	script := r.cmd.Script
	if len(r.cmd.Argv) > 0 {
		script = "exec " + quoteAll(r.cmd.Argv)
	}
	words := []string{"exec"}
	sudo := "0"
	if s := r.cmd.Sudo; s != nil {
		sudo = "1"
		words = append(words, "sudo")
		if s.Password.Empty() {
			words = append(words, "-n")
		} else {
			words = append(words, "-S", "-p", r.nonce+"?")
		}
		if s.User != "" {
			words = append(words, "-u", s.User)
		}
		words = append(words, "--")
	}
	words = append(words, "sh", "-c", strings.ReplaceAll(strings.ReplaceAll(prologue, "NONCE", r.nonce), "SUDO", sudo)+script)
	return words[0] + " " + quoteAll(words[1:])
}

// prologue says which process to end: the group, if it is the command's own,
// otherwise the shell alone. It goes to stderr, which is read up to there.
const prologue = `p=$$
if read -r l 2>/dev/null </proc/$$/stat; then
l=${l##*) }; set -- $l
if [ "$3" = $$ ] || { [ SUDO = 1 ] && [ "$3" = "$PPID" ]; }; then p=-$3; fi
set --
fi
echo "NONCE $p" >&2
`

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Quote(w)
	}
	return strings.Join(out, " ")
}

// Quote makes one word for a POSIX shell of any text.
func Quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// maxStderr is how much of a command's words is kept.
const maxStderr = 4 << 10

// stderr takes what a command says beside its output: sudo's question, the
// sign that it runs, and then its own words, of which the beginning is kept.
type stderr struct {
	nonce   string
	started chan struct{}
	asked   chan struct{}

	mu   sync.Mutex
	buf  []byte
	proc string
}

func newStderr(nonce string) *stderr {
	return &stderr{nonce: nonce, started: make(chan struct{}), asked: make(chan struct{}, 4)}
}

// Write takes the next piece.
func (s *stderr) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxStderr - len(s.buf); room > 0 || s.proc == "" {
		keep := p
		if s.proc != "" && len(keep) > room {
			keep = keep[:room]
		}
		s.buf = append(s.buf, keep...)
	}
	if s.proc == "" {
		s.look()
	}
	return len(p), nil
}

// look finds the question and the sign in what came so far.
func (s *stderr) look() {
	text := string(s.buf)
	for {
		before, after, ok := strings.Cut(text, s.nonce+"?")
		if !ok {
			break
		}
		text = before + after
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	if before, after, ok := strings.Cut(text, s.nonce+" "); ok {
		if who, rest, whole := strings.Cut(after, "\n"); whole {
			s.proc = who
			text = before + rest
			close(s.started)
		}
	} else if len(text) > 2*maxStderr {
		text = text[len(text)-maxStderr:] // a host with much to say before
	}
	if s.proc != "" && len(text) > maxStderr {
		text = text[:maxStderr]
	}
	s.buf = append(s.buf[:0], text...)
}

// process gives what kill takes, "" when the command has not begun.
func (s *stderr) process() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Trim(s.proc, "-0123456789") != "" {
		return ""
	}
	return s.proc
}

func (s *stderr) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(string(s.buf))
}
