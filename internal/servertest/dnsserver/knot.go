package dnsserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Knot starts knotd with the zones and stops it when the test ends.
func Knot(t TB, zones ...Zone) *Server {
	t.Helper()
	return start(t, StartKnot, zones)
}

// StartKnot starts knotd in a directory.
func StartKnot(dir string, zones ...Zone) (*Server, error) {
	knotd, err := find("knotd", "knot knot-dnsutils")
	if err != nil {
		return nil, err
	}
	s, err := newServer("knot", dir)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"run", "db", "zones"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	conf, err := s.knotConf(zones)
	if err != nil {
		return nil, err
	}
	s.argv = []string{knotd, "-c", conf}
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, s.await(func() error {
		for _, z := range zones {
			if err := s.answers(z); err != nil {
				return err
			}
		}
		return nil
	})
}

// knotConf writes the configuration and the zone files, and gives the
// configuration's path.
func (s *Server) knotConf(zones []Zone) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  listen: 127.0.0.1@%d
  rundir: %q
  user: %s
  identity: ""
  nsid: ""
log:
  - target: %q
    any: info
database:
  storage: %q
key:
  - id: %s
    algorithm: %s
    secret: %s
acl:
  - id: a1
    key: %s
    action: [transfer, update]
template:
  - id: default
    storage: %q
    file: "%%s.zone"
    acl: a1
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: all
zone:
`, s.Port, filepath.Join(s.Dir, "run"), whoami(), s.log, filepath.Join(s.Dir, "db"), s.Key.Name, s.Key.Algorithm, s.Key.Secret, s.Key.Name,
		filepath.Join(s.Dir, "zones"))
	for _, z := range zones {
		file := filepath.Join(s.Dir, "zones", z.plain()+".zone")
		if err := os.WriteFile(file, []byte(z.text()), 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  - domain: %s\n", z.plain())
	}
	conf := filepath.Join(s.Dir, "knot.conf")
	return conf, os.WriteFile(conf, []byte(b.String()), 0o600)
}
