package dnsserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// BIND starts named with the zones and stops it when the test ends.
func BIND(t TB, zones ...Zone) *Server {
	t.Helper()
	return start(t, StartBIND, zones)
}

// StartBIND starts named in a directory. Zones with a View live in views that
// are told apart by their key (Server.Keys).
func StartBIND(dir string, zones ...Zone) (*Server, error) {
	named, err := find("named", "bind9 bind9-dnsutils")
	if err != nil {
		return nil, err
	}
	s, err := newServer("bind", dir)
	if err != nil {
		return nil, err
	}
	conf, err := s.bindConf(zones)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, "named.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	s.argv = []string{named, "-f", "-n", "2", "-c", file}
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

func (s *Server) bindConf(zones []Zone) (string, error) {
	var b strings.Builder
	key := func(k Key) { fmt.Fprintf(&b, "key %s { algorithm %s; secret %q; };\n", k.Name, k.Algorithm, k.Secret) }
	key(s.Key)
	fmt.Fprintf(&b, `options { directory %q; pid-file none; session-keyfile none; lock-file none;
  listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; notify no; dnssec-validation no;
  max-records 0; tcp-clients 500; };
controls { };
logging { channel c { file %q; severity info; }; category default { c; }; category update { null; }; };
`, s.Dir, s.Port, s.log)
	views, order := map[string]string{}, []string{}
	for _, z := range zones {
		k := s.Key
		if z.View != "" {
			k = testKey("k-" + z.View)
		}
		if _, ok := views[z.View]; !ok {
			order = append(order, z.View)
		}
		file := filepath.Join(s.Dir, strings.ReplaceAll(z.plain(), "/", "_")+"."+z.View+".zone")
		if err := os.WriteFile(file, []byte(z.text()), 0o600); err != nil {
			return "", err
		}
		views[z.View] += fmt.Sprintf("zone %q { type primary; file %q; allow-transfer { key %s; }; update-policy { %sgrant %s zonesub ANY; }; };\n",
			z.plain(), file, k.Name, z.denied(k), k.Name)
	}
	for _, v := range order {
		if v == "" {
			b.WriteString(views[v])
			continue
		}
		if s.Keys == nil {
			s.Keys = map[string]Key{}
		}
		s.Keys[v] = testKey("k-" + v)
		key(s.Keys[v])
		fmt.Fprintf(&b, "view %q { match-clients { key k-%s; };\n%s};\n", v, v, views[v])
	}
	return b.String(), nil
}

func (z Zone) denied(k Key) string {
	var b strings.Builder
	for _, name := range z.Deny {
		fmt.Fprintf(&b, "deny %s name %s ANY; ", k.Name, name)
	}
	return b.String()
}
