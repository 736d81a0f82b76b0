package auth

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/store"
)

// Peer recognises the process at the other end of a Unix socket by the
// credentials the kernel gives: the server's own user and root are admins,
// others are refused. Teams come from the user of that name in the operator's
// file, so that a local administrator can approve for a team.
func Peer(c *net.UnixConn, users map[string]*config.User) (Identity, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Identity{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Identity{}, err
	}
	if credErr != nil {
		return Identity{}, credErr
	}
	return forUID(cred.Uid, uint32(os.Geteuid()), users)
}

func forUID(uid, own uint32, users map[string]*config.User) (Identity, error) {
	name := accountName(uid)
	if uid != own && uid != 0 {
		return Identity{}, fmt.Errorf("%w: account %s is neither root nor the server's own; use a token over TCP", ErrUnknown, name)
	}
	id := Identity{Actor: store.Actor("user:" + name), Role: Admin}
	if u := users[name]; u != nil {
		id.Teams = u.Teams
	}
	return id, nil
}

func accountName(uid uint32) string {
	text := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(text)
	if err != nil {
		return "uid-" + text
	}
	return u.Username
}

// Local is the identity of who runs this process, for work without a server.
func Local() Identity {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := accountName(uint32(os.Geteuid()))
	return Identity{Actor: store.Actor("cli:" + name + "@" + host), Role: Admin}
}
