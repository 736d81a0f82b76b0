package git

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/source"
)

type transport string

const (
	overLocal transport = "file"
	overHTTP  transport = "http"
	overHTTPS transport = "https"
	overSSH   transport = "ssh"
)

// remote is a repository URL that was checked.
type remote struct {
	url  string // as git gets it
	kind transport
	host string // with port, lower case; "" for a local path
}

var (
	helperURL = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)
	scpURL    = regexp.MustCompile(`^(?:([^@/:]+)@)?(\[[0-9A-Fa-f:.]+\]|[^@/:\[\]]+):(.+)$`)
)

// parseRemote checks the URL. Its errors never show the URL where that may
// hold a password.
func parseRemote(opt source.Options) (remote, error) {
	u := opt.URL
	switch {
	case u == "":
		return remote{}, errors.New("url: missing")
	case strings.HasPrefix(u, "-"):
		return remote{}, errors.New("url: starts with '-'")
	case strings.ContainsFunc(u, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return remote{}, errors.New("url: holds control characters")
	case helperURL.MatchString(u):
		return remote{}, errors.New("url: remote helpers (name::address) are refused; use https://, ssh:// or a local path")
	case strings.Contains(u, "://"):
		return parseURL(u, opt.Credentials)
	}
	if m := scpURL.FindStringSubmatch(u); m != nil && !filepath.IsAbs(u) {
		if strings.HasPrefix(m[1], "-") || strings.HasPrefix(m[2], "-") || strings.HasPrefix(m[3], "-") {
			return remote{}, errors.New("url: a part starts with '-'")
		}
		return remote{url: u, kind: overSSH, host: strings.ToLower(m[2])}, nil
	}
	return localRemote(u)
}

func localRemote(p string) (remote, error) {
	abs, err := filepath.Abs(p)
	return remote{url: abs, kind: overLocal}, err
}

func parseURL(raw string, cred source.Credentials) (remote, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return remote{}, errors.New("url: can't be parsed")
	}
	if _, has := u.User.Password(); has {
		return remote{}, errors.New("url: holds a password; put it into the credentials as a reference to a secret")
	}
	r := remote{url: raw, kind: transport(u.Scheme), host: strings.ToLower(u.Host)}
	user := u.User.Username()
	switch u.Scheme {
	case "file":
		return localRemote(u.Path)
	case "https", "http":
		if user != "" {
			return remote{}, errors.New("url: holds a user name or token; put it into the credentials")
		}
		if u.Scheme == "http" && !loopback(u.Hostname()) && (!cred.Password.Empty() || !cred.Token.Empty() || cred.Fresh != nil) {
			return remote{}, errors.New("url: http:// would send the credentials readable by all; use https://")
		}
	case "ssh":
		if strings.HasPrefix(user, "-") {
			return remote{}, errors.New("url: the user name starts with '-'")
		}
	default:
		return remote{}, fmt.Errorf("url: the transport %q is refused; use https://, ssh:// or a local path", u.Scheme)
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Host, "-") {
		return remote{}, errors.New("url: has no valid host name")
	}
	return r, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// link is what a network command needs beside its arguments.
type link struct {
	proto  string
	config [][2]string
	env    []string
	close  func()
}

// connect prepares the credentials. They go to git through its environment,
// which only the same user can read, or through an ssh agent that lives as
// long as the command; never through arguments or files.
func (m *Mirror) connect(ctx context.Context) (link, error) {
	l := link{proto: string(m.remote.kind), close: func() {}, config: [][2]string{{"remote.origin.url", m.remote.url}}}
	if m.remote.kind != overLocal {
		l.config = append(l.config, promisor...)
	}
	cred, err := m.credentials(ctx)
	if err != nil {
		return l, err
	}
	switch m.remote.kind {
	case overHTTP, overHTTPS:
		err = m.connectHTTP(&l, cred)
	case overSSH:
		err = m.connectSSH(&l, cred)
	case overLocal:
		// upload-pack of a repository of another owner refuses without this; the
		// operator named the path.
		conf := filepath.Join(m.dir, "gitconfig")
		err = writeFile(conf, []byte("[safe]\n\tdirectory = *\n"))
		l.env = append(l.env, "GIT_CONFIG_GLOBAL="+conf)
	}
	return l, err
}

// credentials gives what counts now.
func (m *Mirror) credentials(ctx context.Context) (source.Credentials, error) {
	cred := m.opt.Credentials
	if cred.Fresh == nil || m.remote.kind != overHTTP && m.remote.kind != overHTTPS {
		return cred, nil
	}
	token, err := cred.Fresh(ctx)
	if err != nil {
		return cred, fmt.Errorf("a token for git: %w", err)
	}
	cred.Token = token
	return cred, nil
}

// promisor makes git ask for no blobs and accept that they are missing. It
// stands in no file, so that a read never uses the network by itself.
var promisor = [][2]string{{"remote.origin.promisor", "true"}, {"remote.origin.partialclonefilter", "blob:none"}}

func (m *Mirror) connectHTTP(l *link, cred source.Credentials) error {
	if h := authorization(cred); h != "" {
		l.config = append(l.config, [2]string{"http.extraHeader", "Authorization: " + h})
	}
	if cred.CA == "" {
		return nil
	}
	ca := filepath.Join(m.dir, "ca.pem")
	l.config = append(l.config, [2]string{"http.sslCAInfo", ca})
	if old, err := os.ReadFile(ca); err == nil && string(old) == cred.CA {
		return nil
	}
	return writeFile(ca, []byte(cred.CA))
}

// authorization gives the value of the HTTP header, "" for none.
func authorization(cred source.Credentials) string {
	user, pass := cred.Username, cred.Password
	if !cred.Token.Empty() {
		pass = cred.Token
		if user == "" {
			user = "x-access-token"
		}
	}
	if pass.Empty() {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass.Reveal()))
}
