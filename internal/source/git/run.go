// Package git reads Git repositories through the git command: bare mirrors
// that hold no more than they must, and snapshots of their commits. Nothing in
// a repository, nor in the machine's Git configuration, can make it run code.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source"
)

// localTimeout bounds a command that doesn't use the network.
const localTimeout = 2 * time.Minute

// maxOutput bounds what is read of a command's output.
const maxOutput = 64 << 20

// maxStderr is how much of a command's errors is kept.
const maxStderr = 8 << 10

// command is one call of git. Nothing secret stands in its arguments.
type command struct {
	dir    string // the repository, for --git-dir
	work   string // the working directory; "" means dir
	args   []string
	env    []string    // added to the clean environment
	config [][2]string // added to the safe configuration
	proto  string      // transports allowed, separated by colons; "" means none
	stdin  io.Reader
	files  []*os.File // inherited: the lock, so that it lives as long as the last child
}

// safeConfig holds for every call. Command line configuration wins over the
// repository's own file.
var safeConfig = [][2]string{
	{"core.hooksPath", "/dev/null"},
	{"core.fsmonitor", "false"},
	{"core.attributesFile", "/dev/null"},
	{"core.pager", "cat"},
	{"core.askPass", ""},
	{"core.alternateRefsCommand", ""},
	{"credential.helper", ""},
	{"protocol.version", "2"},
	{"gc.auto", "0"},
	{"maintenance.auto", "false"},
	{"fetch.recurseSubmodules", "false"},
	{"submodule.recurse", "false"},
	{"http.followRedirects", "false"},
	{"http.lowSpeedLimit", "1"},
	{"http.lowSpeedTime", "60"},
	{"gpg.program", "/bin/false"},
	{"advice.detachedHead", "false"},
}

// passed are the variables that git may inherit: how to find programs and to
// get through a proxy, no more.
var passed = []string{"PATH", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func (c *command) environ() []string {
	proto := c.proto
	if proto == "" {
		proto = "none"
	}
	env := []string{
		"LC_ALL=C", "HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_PROTOCOL_FROM_USER=0", "GIT_ALLOW_PROTOCOL=" + proto, "GIT_EDITOR=/bin/false",
		"GIT_NO_LAZY_FETCH=1",
	}
	for _, k := range passed {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	config := append(append([][2]string{}, safeConfig...), c.config...)
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, kv := range config {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	return append(env, c.env...)
}

// cmd makes the process. When the context ends its whole group is killed.
func (c *command) cmd(ctx context.Context) *exec.Cmd {
	args := c.args
	if c.dir != "" {
		args = append([]string{"--git-dir=" + c.dir}, args...)
	}
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = c.work
	if cmd.Dir == "" {
		cmd.Dir = c.dir
	}
	cmd.Env = c.environ()
	cmd.Stdin = c.stdin
	cmd.ExtraFiles = c.files
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output runs the command and gives its standard output.
func (c *command) output(ctx context.Context, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("git %s took longer than %s", c.args[0], timeout))
	defer cancel()
	cmd := c.cmd(ctx)
	stdout, stderr := &capped{max: maxOutput}, &capped{max: maxStderr, quiet: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("the git command is missing: install git 2.36 or newer: %w", err)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, fmt.Errorf("git %s: %w", c.args[0], timedOut(cause, c.proto != ""))
	}
	if err != nil {
		return stdout.buf.Bytes(), newError(c.args[0], err, stderr.buf.String())
	}
	return stdout.buf.Bytes(), nil
}

// timedOut tells a server that doesn't answer from a caller that gave up.
func timedOut(cause error, network bool) error {
	if network && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w: %w", source.ErrUnreachable, cause)
	}
	return cause
}

// capped keeps at most max bytes. A quiet one drops the rest, another one
// makes the command fail.
type capped struct {
	buf   bytes.Buffer
	max   int
	quiet bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.max - c.buf.Len()
	if len(p) <= room {
		return c.buf.Write(p)
	}
	if !c.quiet {
		return 0, fmt.Errorf("more than %d bytes of output: %w", c.max, source.ErrTooLarge)
	}
	c.buf.Write(p[:max(room, 0)])
	return len(p), nil
}

// Error is a git command that failed.
type Error struct {
	Verb   string
	Stderr string
	Code   int
	kind   error
}

// Error gives what git said, on one line.
func (e *Error) Error() string {
	said := strings.Join(strings.FieldsFunc(e.Stderr, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if said == "" {
		said = "exit status " + strconv.Itoa(e.Code)
	}
	if e.kind != nil {
		return fmt.Sprintf("%v: git %s: %s", e.kind, e.Verb, said)
	}
	return fmt.Sprintf("git %s: %s", e.Verb, said)
}

// Unwrap gives the kind of the failure, as source.ErrAuth.
func (e *Error) Unwrap() error { return e.kind }

func newError(verb string, err error, stderr string) error {
	out := &Error{Verb: verb, Stderr: strings.TrimSpace(printable(stderr)), Code: -1, kind: classify(stderr)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		out.Code = exit.ExitCode()
	} else if out.Stderr == "" {
		out.Stderr = err.Error()
	}
	return out
}

// printable takes control characters out of what a server said.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < 0x20 || r == 0x7f) {
			return ' '
		}
		return r
	}, s)
}

// kinds maps what git, curl and ssh say to what it means; the first match
// counts. The wording is that of LC_ALL=C.
var kinds = []struct {
	kind  error
	words []string
}{
	{source.ErrHostKey, []string{"Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"}},
	{source.ErrAuth, []string{"Authentication failed", "Permission denied (", "could not read Username", "could not read Password",
		"returned error: 401", "returned error: 403", "Too many authentication failures", "unable to read askpass"}},
	{source.ErrNoRef, []string{"couldn't find remote ref", "not our ref", "does not have any commits", "unadvertised object"}},
	{source.ErrUnreachable, []string{"Could not resolve host", "Failed to connect", "Connection refused", "Connection timed out",
		"Connection reset", "Connection closed", "Could not resolve hostname", "early EOF", "the remote end hung up", "unexpected disconnect",
		"returned error: 5", "SSL", "certificate", "Operation too slow", "No route to host", "Network is unreachable", "Empty reply",
		"Could not read from remote repository", "does not appear to be a git repository", "returned error: 404", "not found", "timed out", "redirect"}},
	{source.ErrCorrupt, []string{"corrupt", "bad object", "missing tree", "unable to read tree", "unable to read", "inflate", "not a git repository",
		"does not match index", "bad tree", "bad pack", "did not send all necessary objects", "missing commit", "Could not read",
		"broken", "revision walk setup failed", "invalid object", "bad revision", "bad config", "garbage", "index-pack failed", "remote did not send", "missing blob"}},
}

func classify(stderr string) error {
	for _, k := range kinds {
		for _, w := range k.words {
			if strings.Contains(stderr, w) {
				return k.kind
			}
		}
	}
	return nil
}
