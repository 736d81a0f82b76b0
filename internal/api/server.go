// Package api is the HTTP side of trueup: the JSON API under /api/v1 for the
// command line and the web page, webhooks, health and metrics, and the client
// of all this.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// Syncer starts and stops reconciling.
type Syncer interface {
	Sync(ctx context.Context, by store.Actor, a Action) error
	Poll(ctx context.Context, by store.Actor, repository string) error
	Cancel(ctx context.Context, by store.Actor, target string) error
}

// Decider takes decisions on held plans.
type Decider interface {
	Approve(ctx context.Context, by auth.Identity, target, planHash, reason string) (store.Approval, error)
	Reject(ctx context.Context, by auth.Identity, target, planHash, reason string) (store.Approval, error)
}

// Holder holds and lets go.
type Holder interface {
	Suspend(ctx context.Context, by store.Actor, kind, key, reason string) error
	Resume(ctx context.Context, by store.Actor, kind, key string) error
	Freeze(ctx context.Context, by store.Actor, reason string) error
	Unfreeze(ctx context.Context, by store.Actor) error
	ConfirmRestore(ctx context.Context, by store.Actor) error
}

// Mover changes what is in force.
type Mover interface {
	Rollback(ctx context.Context, by store.Actor, target, commit, reason string) error
	Unpin(ctx context.Context, by store.Actor, target string) error
	Destroy(ctx context.Context, by store.Actor, target, reason string) error
	// State works on the state that a target keeps of its own.
	State(ctx context.Context, by store.Actor, target string, op driver.StateOp, reason string) (driver.StateResult, error)
}

// Blamer finds who wrote a line, as of a commit.
type Blamer interface {
	Blame(ctx context.Context, repository, commit string, at plan.Source) (Authorship, error)
}

// Hinter takes what a webhook tells as a hint where to look.
type Hinter interface {
	Event(ctx context.Context, repository string, ev forge.Event) error
}

// Actions is what the server can do.
type Actions struct {
	Hinter
	Syncer
	Decider
	Holder
	Mover
	Promoter
	Follower
}

// Options is what a server is made of.
type Options struct {
	Store   store.Store
	Actions Actions
	// Config gives the configuration in force.
	Config  func() *config.Server
	Resolve func(ctx context.Context, ref secret.Ref) (secret.Value, error)
	// Forge gives the forge of a repository, to check and read its deliveries;
	// nil is none.
	Forge func(ctx context.Context, repository string) (forge.Forge, error)
	// Ready tells whether work is being done.
	Ready func() error
	// Blame may be nil: then nobody is named as author.
	Blame Blamer
	// Agents takes hosts that call in; nil is none.
	Agents Agents
	// Collectors add metrics, the engine's for example.
	Collectors []prometheus.Collector
	Log        *slog.Logger
	Version    string
	// Clock gives the time; nil is the system's.
	Clock func() time.Time
}

// Server answers HTTP.
type Server struct {
	Options
	registry   *prometheus.Registry
	hub        *hub
	deliveries *deliveries
	hooks      chan struct{} // one for each delivery that is being read
	// stop ends the waiting requests when the server stops.
	stop     chan struct{}
	stopOnce sync.Once
}

// New makes a server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = func() time.Time { return time.Now().UTC() }
	}
	return &Server{Options: o, registry: newRegistry(o), hub: newHub(o.Store), deliveries: newDeliveries(), hooks: make(chan struct{}, maxHooks), stop: make(chan struct{})}
}

// The limits of a connection. Reading is short, for every request is small;
// answers that stream set their own deadlines.
const (
	maxHeader      = 16 << 10
	maxBody        = 1 << 20
	maxConnections = 512
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second
	writeTimeout   = time.Minute
	idleTimeout    = 2 * time.Minute
	stopTimeout    = 10 * time.Second
)

// Serve answers on the listeners until ctx ends, then lets what is under way
// come to its end.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	srv := &http.Server{Handler: s.Handler(), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }}
	hubCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.hub.run(hubCtx, s.Log)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stopOnce.Do(func() { close(s.stop) })
	stopCtx, stopped := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stopped()
	if serr := srv.Shutdown(stopCtx); serr != nil {
		err = errors.Join(err, srv.Close())
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// Socket listens on a Unix socket that only its owner (and root) can open. A
// socket that a dead server left is replaced; a live one is an error.
func Socket(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, errors.New("another server answers on " + path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return limited(l, maxConnections), nil
}

// TCP listens on host:port, with TLS where a certificate is given. The
// certificate is read again for new connections when its file changes.
func TCP(address, certFile, keyFile string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	l = limited(l, maxConnections)
	if certFile == "" {
		return l, nil
	}
	c := &certificate{cert: certFile, key: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}), nil
}

// certificate is a key pair that is read again when its file changes.
type certificate struct {
	cert, key string
	mu        sync.Mutex
	read      time.Time
	pair      *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.cert)
	if err == nil && c.pair != nil && info.ModTime().Equal(c.read) {
		return c.pair, nil
	}
	pair, perr := tls.LoadX509KeyPair(c.cert, c.key)
	if perr != nil || err != nil {
		if c.pair != nil {
			return c.pair, nil // a renewal under way: the old one still serves
		}
		return nil, errors.Join(err, perr)
	}
	c.pair, c.read = &pair, info.ModTime()
	return c.pair, nil
}
