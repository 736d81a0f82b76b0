// Package postgres starts a PostgreSQL of its own for tests and benchmarks:
// a new cluster in a temporary directory, on a free loopback port, gone when
// it is stopped or its starter dies.
package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options change how the server runs.
type Options struct {
	// Durable leaves fsync on, as in production. Tests do without.
	Durable bool
	// Settings are further "name=value" of the server's configuration.
	Settings []string
}

// Server is a running PostgreSQL.
type Server struct {
	port     int
	password string
	dir      string
	user     account
	bin      func(name string) string
	options  Options
	process  *process
	count    atomic.Int64
}

const install = "install it (Debian: apt-get install postgresql), or put initdb and postgres on the PATH"

// Start makes a cluster and starts it. The caller stops it.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "trueup-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, user: user, bin: bin, options: o, password: rand.Text()}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("PostgreSQL: %w", err), s.Stop())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.user.own(s.dir); err != nil {
		return err
	}
	if err := s.initialise(ctx); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	return s.Restart(ctx)
}

func (s *Server) initialise(ctx context.Context) error {
	file := filepath.Join(s.dir, "password")
	if err := os.WriteFile(file, []byte(s.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := s.user.own(file); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.bin("initdb"), "--pgdata="+s.data(), "--username=trueup", "--pwfile="+file,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.user.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Restart starts the server again after Kill, on the same port.
func (s *Server) Restart(ctx context.Context) error {
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	if !s.options.Durable {
		args = append(args, "-c", "fsync=off")
	}
	for _, set := range s.options.Settings {
		args = append(args, "-c", set)
	}
	cmd := exec.Command(s.bin("postgres"), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.user.attributes()
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	s.process = p
	return s.ready(ctx, log)
}

func (s *Server) ready(ctx context.Context, log *bytes.Buffer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("the server ended: %s", log.String())
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// URL is where a database of the server is.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("trueup", s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// NewDatabase makes an empty database and gives its URL.
func (s *Server) NewDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("trueup%d", s.count.Add(1))
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	return s.URL(name), errors.Join(err, conn.Close(ctx))
}

// Psql runs a query through psql and gives its bare output.
func (s *Server) Psql(ctx context.Context, database, query string) (string, error) {
	cmd := exec.CommandContext(ctx, s.bin("psql"), "--no-psqlrc", "--tuples-only", "--no-align", "--command="+query, database)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Kill ends the server at once, without letting anything finish.
func (s *Server) Kill() error { return s.process.end(killSignal, killSignal) }

// Stop ends the server and removes its files.
func (s *Server) Stop() error {
	var err error
	if s.process != nil {
		err = s.process.end(stopSignal, killSignal)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// programs finds the server's programs.
func programs() (func(string) string, error) {
	dir := ""
	if path, err := exec.LookPath("initdb"); err == nil {
		dir = filepath.Dir(path)
	} else if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		dir = filepath.Dir(found[len(found)-1])
	} else {
		return nil, errors.New("PostgreSQL's initdb is not there: " + install)
	}
	return func(name string) string {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
		return name
	}, nil
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
