package ssh

import (
	"strconv"
	"strings"
)

// account is a line of /etc/passwd.
type account struct {
	Name, UID, GID, Comment, Home, Shell string
	line                                 string
	// Expires is the day on which the account ends or ended, "" for never; only
	// root can see it.
	Expires string
	Locked  bool
}

// unixGroup is a line of /etc/group.
type unixGroup struct {
	Name, GID string
	Members   []string
	line      string
}

// accounts is what a host says about its users and groups.
type accounts struct {
	users  map[string]*account
	groups map[string]*unixGroup
	names  map[string]string // of groups by number
	today  int64
}

// accountsPart asks for the host's own users and groups. Of /etc/shadow only
// what locks an account is said, never a hash.
const accountsPart = `while IFS= read -r l; do echo "u $l"; done </etc/passwd
while IFS= read -r l; do echo "g $l"; done </etc/group
if [ -r /etc/shadow ]; then
while IFS=: read -r a b c d e f g h i; do
case $b in '!'*|'*'*) b=locked;; *) b=open;; esac
echo "s $a:$b:$h"
done </etc/shadow
fi
echo "d $(($(date +%s) / 86400))"`

// lookAccounts adds the question to a probe.
func lookAccounts(p *probe) { p.part("accounts", accountsPart) }

// accounts reads the answer to it.
func (a *answer) accounts() *accounts {
	out := &accounts{users: map[string]*account{}, groups: map[string]*unixGroup{}, names: map[string]string{}}
	for line := range strings.Lines(string(a.part("accounts"))) {
		line = strings.TrimSuffix(line, "\n")
		what, rest, _ := strings.Cut(line, " ")
		w := strings.Split(rest, ":")
		switch {
		case what == "u" && len(w) >= 7 && out.users[w[0]] == nil:
			out.users[w[0]] = &account{Name: w[0], UID: w[2], GID: w[3], Comment: w[4], Home: w[5], Shell: w[6], line: rest}
		case what == "g" && len(w) >= 4 && out.groups[w[0]] == nil:
			g := &unixGroup{Name: w[0], GID: w[2], line: rest}
			for m := range strings.SplitSeq(w[3], ",") {
				if m != "" {
					g.Members = append(g.Members, m)
				}
			}
			out.groups[w[0]] = g
			if out.names[w[2]] == "" {
				out.names[w[2]] = w[0]
			}
		case what == "s" && len(w) == 3:
			if u := out.users[w[0]]; u != nil {
				u.Locked, u.Expires = w[1] == "locked", w[2]
			}
		case what == "d":
			out.today, _ = strconv.ParseInt(rest, 10, 64)
		}
	}
	return out
}

// disabled tells that nobody can log in to an account, whatever they know.
func (a *accounts) disabled(u *account) bool {
	day, err := strconv.ParseInt(u.Expires, 10, 64)
	return err == nil && day <= a.today && u.Locked
}

// groupName gives a group's name for its number.
func (a *accounts) groupName(gid string) string { return orElse(a.names[gid], gid) }
