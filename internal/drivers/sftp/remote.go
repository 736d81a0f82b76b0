package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

type fileInfo = os.FileInfo

// remote is one transfer channel.
type remote struct {
	*sftp.Client
	root, user, shown string
	posix, fsync      bool
	end               context.CancelFunc
}

// closeAfter is how long a cancelled transfer may take to clean up before its
// channel is closed.
const closeAfter = 5 * time.Second

// connect opens a channel. A cancelled context closes it a moment later, so
// that unfinished files can be removed.
func (s *session) connect(ctx context.Context) (*remote, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(closeAfter, cancel) })
	r := &remote{root: s.root, user: s.target.User, end: func() { stop(); cancel() }}
	for again := true; ; again = false {
		conn, err := s.pool.Get(ctx, s.target)
		if err != nil {
			r.end()
			return nil, err
		}
		r.shown = conn.HostKey()
		r.Client, err = conn.SFTP(own, sftp.UseConcurrentWrites(true))
		if err == nil {
			break
		}
		_ = conn.Close()
		if !again || ctx.Err() != nil {
			r.end()
			return nil, fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
		}
	}
	_, r.posix = r.HasExtension("posix-rename@openssh.com")
	_, r.fsync = r.HasExtension("fsync@openssh.com")
	if err := r.checkRoot(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// checkRoot makes sure that the root is there. A root that is missing is not
// an empty root: it may be a disk that is not mounted.
func (r *remote) checkRoot() error {
	info, err := r.Lstat(r.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("root %s is not there: %w: %w", r.root, driver.ErrUnreachable, err)
	case err != nil:
		return fmt.Errorf("root %s: %w: %w", r.root, driver.ErrUnreachable, err)
	case !info.IsDir():
		return driver.Permanent(fmt.Errorf("root %s is no directory; name the directory itself, not a link to it", r.root))
	}
	return nil
}

func (r *remote) close() {
	_ = r.Client.Close()
	r.end()
}

func (r *remote) path(n string) string { return path.Join(r.root, n) }

// realm is what the directory is: the server by its key, the account (which
// may have a root of its own) and the path.
func (r *remote) realm() string { return fmt.Sprintf("sftp %s %s %s", r.shown, r.user, r.root) }

// warnings say what the server can't do.
func (r *remote) warnings() plan.Diagnostics {
	var d plan.Diagnostics
	if !r.posix {
		d.Warnf(plan.Source{}, "", "", "the server can't replace a file in one step (posix-rename@openssh.com): a changed file is missing for a moment")
	}
	return d
}

// answered tells whether an error is the server's own word: then what was
// asked for did not happen. Anything else may have.
func answered(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) && !errors.Is(err, sftp.ErrSSHFxConnectionLost) && !errors.Is(err, sftp.ErrSSHFxNoConnection) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrExist)
}

// chain makes sure that every directory on the way to a path is one, and no
// link to one. The root itself was looked at when the channel was opened.
func (r *remote) chain(n string) error {
	dir := path.Dir(n)
	if dir == "." {
		return nil
	}
	if err := r.chain(dir); err != nil {
		return err
	}
	info, err := r.Lstat(r.path(dir))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory but a %s: nothing is written through it", dir, kindOf(info.Mode()))
	}
	return nil
}
