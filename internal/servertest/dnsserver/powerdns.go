package dnsserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const pdnsSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// PowerDNS starts pdns_server on SQLite with the zones and stops it when the
// test ends. It answers updates and transfers, and the HTTP API.
func PowerDNS(t TB, zones ...Zone) *Server {
	t.Helper()
	return start(t, StartPowerDNS, zones)
}

// StartPowerDNS starts pdns_server in a directory.
func StartPowerDNS(dir string, zones ...Zone) (*Server, error) {
	const pkg = "pdns-server pdns-backend-sqlite3 sqlite3"
	pdns, err := find("pdns_server", pkg)
	if err != nil {
		return nil, err
	}
	s, err := newServer("powerdns", dir)
	if err != nil {
		return nil, err
	}
	if err := s.pdnsDatabase(pkg); err != nil {
		return nil, err
	}
	api, err := freePort()
	if err != nil {
		return nil, err
	}
	s.URL, s.APIKey = "http://127.0.0.1:"+strconv.Itoa(api), "apikey1"
	conf := fmt.Sprintf(`launch=gsqlite3
gsqlite3-database=%s/p.db
gsqlite3-dnssec=yes
local-address=127.0.0.1
local-port=%d
socket-dir=%s
api=yes
api-key=%s
webserver=yes
webserver-address=127.0.0.1
webserver-port=%d
webserver-allow-from=127.0.0.0/8
webserver-max-bodysize=64
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
allow-axfr-ips=
query-cache-ttl=0
cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
guardian=no
daemon=no
security-poll-suffix=
`, s.Dir, s.Port, s.Dir, s.APIKey, api)
	if err := os.WriteFile(filepath.Join(s.Dir, "pdns.conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	s.argv = []string{pdns, "--config-dir=" + s.Dir}
	if err := s.Start(); err != nil {
		return nil, err
	}
	if err := s.await(func() error { return s.API("GET", "/servers/localhost", nil, nil) }); err != nil {
		return nil, err
	}
	if err := s.pdnsZones(zones); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) pdnsDatabase(pkg string) error {
	sqlite, err := find("sqlite3", pkg)
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(pdnsSchema)
	if err != nil {
		return fmt.Errorf("the SQLite schema of PowerDNS is missing: apt-get install --no-install-recommends %s: %w", pkg, err)
	}
	_, err = output(sqlite, string(schema), filepath.Join(s.Dir, "p.db"))
	return err
}

// pdnsZones makes the key and the zones. Zone data goes in as a zone file.
func (s *Server) pdnsZones(zones []Zone) error {
	key := map[string]string{"name": s.Key.Name, "algorithm": s.Key.Algorithm, "key": s.Key.Secret}
	if err := s.API("POST", "/servers/localhost/tsigkeys", key, nil); err != nil {
		return err
	}
	for _, z := range zones {
		body := map[string]any{"name": z.fqdn(), "kind": "Native", "zone": z.text(), "soa_edit_api": "INCREASE"}
		if err := s.API("POST", "/servers/localhost/zones", body, nil); err != nil {
			return err
		}
		for _, kind := range []string{"TSIG-ALLOW-AXFR", "TSIG-ALLOW-DNSUPDATE"} {
			if err := s.SQL(fmt.Sprintf("INSERT INTO domainmetadata (domain_id, kind, content) SELECT id, '%s', '%s' FROM domains WHERE name='%s';",
				kind, s.Key.Name, z.plain())); err != nil {
				return err
			}
		}
		if err := s.SQL(fmt.Sprintf("INSERT INTO domainmetadata (domain_id, kind, content) SELECT id, 'SOA-EDIT-DNSUPDATE', 'INCREASE' FROM domains WHERE name='%s';", z.plain())); err != nil {
			return err
		}
	}
	return nil
}

// SQL runs statements in PowerDNS' database, behind the server's back.
func (s *Server) SQL(statements string) error {
	sqlite, err := find("sqlite3", "sqlite3")
	if err != nil {
		return err
	}
	_, err = output(sqlite, ".timeout 10000\n"+statements, filepath.Join(s.Dir, "p.db"))
	return err
}

// API calls PowerDNS' HTTP API; path is what follows /api/v1.
func (s *Server) API(method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, s.URL+"/api/v1"+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", s.APIKey)
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(b)))
	}
	if into != nil {
		return json.Unmarshal(b, into)
	}
	return nil
}

// whoami gives user:group as knotd wants it.
func whoami() string {
	u, err := user.Current()
	if err != nil {
		return "root:root"
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return u.Username
	}
	return u.Username + ":" + g.Name
}
