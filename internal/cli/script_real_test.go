//go:build real

package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"trueup.dev/trueup/internal/servertest/dnsserver"
	"trueup.dev/trueup/internal/servertest/postgres"
)

// TestRealScripts runs what needs a real DNS server.
func TestRealScripts(t *testing.T) { runScripts(t, "testdata/real", nil) }

// TestScriptsOnPostgreSQL runs every script again with the store in
// PostgreSQL, one database a script.
func TestScriptsOnPostgreSQL(t *testing.T) {
	s, err := postgres.Start(context.Background(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	t.Setenv("TRUEUP_TEST_DATABASE", "postgres")
	var mu sync.Mutex
	setup := func(e *testscript.Env) error {
		mu.Lock()
		defer mu.Unlock()
		url, err := s.NewDatabase(context.Background())
		if err != nil {
			return err
		}
		e.Setenv("DATABASE", "database: "+url)
		return nil
	}
	for _, dir := range []string{"testdata/script", "testdata/real"} {
		t.Run(filepath.Base(dir), func(t *testing.T) { runScripts(t, dir, setup) })
	}
}

func realCommands() map[string]command {
	return map[string]command{"bind": cmdBind, "dig": cmdDig, "nsupdate": cmdNSUpdate}
}

var servers sync.Map // work directory -> *dnsserver.Server

// cmdBind starts BIND with a zone; $DNS is its address, tsig.key its key.
func cmdBind(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("bind")
	ts.Check(os.Mkdir(dir, 0o700))
	s, err := dnsserver.StartBIND(dir, dnsserver.Zone{Name: args[0]})
	ts.Check(err)
	ts.Defer(s.Stop)
	ts.Setenv("DNS", s.Addr)
	ts.Check(os.WriteFile(ts.MkAbs("tsig.key"), []byte(s.Key.String()+"\n"), 0o600))
	servers.Store(ts.Getenv("WORK"), s)
}

func server(ts *testscript.TestScript) *dnsserver.Server {
	s, ok := servers.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no server runs: say bind ZONE first")
	}
	return s.(*dnsserver.Server)
}

// cmdDig asks the server and compares: dig NAME TYPE [ANSWER]
func cmdDig(ts *testscript.TestScript, neg bool, args []string) {
	want := ""
	if len(args) > 2 {
		want = args[2] + "\n"
	}
	out, err := server(ts).Dig("+short", args[0], args[1])
	ts.Check(err)
	if (out == want) == neg {
		ts.Fatalf("%s %s: the server answers %q", args[0], args[1], out)
	}
}

// cmdNSUpdate changes the zone by hand: nsupdate LINE...
func cmdNSUpdate(ts *testscript.TestScript, _ bool, args []string) {
	script := ""
	for _, l := range args {
		script += l + "\n"
	}
	s := server(ts)
	ts.Check(s.NSUpdate(s.Key, script+"send\n"))
}
