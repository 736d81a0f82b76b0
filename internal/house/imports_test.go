package house

import (
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

const module = "trueup.dev/trueup/"

// importRule says what the packages below From may not import.
type importRule struct {
	from   string   // path in the module; also for everything below it
	never  []string // paths in the module, or other modules, also everything below
	only   []string // if set: the only packages of the module that are allowed
	except []string // prefixes that the rule leaves alone
	may    []string // what may be imported in spite of never and only
	std    bool     // nothing outside the standard library
	tests  bool     // test files keep the rule as well
	why    string
}

var importRules = []importRule{
	{from: "internal/plan", std: true, only: []string{"internal/plan"}, why: "plan is pure data: the standard library alone"},
	{from: "internal/secret", std: true, only: []string{"internal/secret"}, why: "secret values depend on nothing"},
	{from: "internal/driver", except: []string{"internal/driver/drivertest"},
		only: []string{"internal/plan", "internal/secret", "internal/driver"}, std: true,
		why: "the contract knows plans and secrets, nothing else"},
	{from: "internal/driver/drivertest", only: []string{"internal/plan", "internal/secret", "internal/driver"},
		why: "the conformance kit knows the contract, not the engine"},
	{from: "internal/client", may: []string{"internal/config/strict"}, only: []string{"internal/plan", "internal/secret", "internal/driver", "internal/client"},
		why: "clients stand below drivers and forges"},
	{from: "internal/drivers", except: []string{"internal/drivers/all"}, may: []string{"internal/config/strict"},
		never: []string{"internal/engine", "internal/store", "internal/queue", "internal/api", "internal/cli", "internal/config", "internal/source"},
		why:   "a driver knows the contract and its environment, nothing of trueup around it"},
	{from: "internal/config", never: []string{"internal/drivers", "internal/engine", "internal/api", "internal/cli", "internal/store"},
		why: "the configuration is read with any set of drivers"},
	{from: "internal/store", except: []string{"internal/store/sql", "internal/store/storetest"}, only: []string{"internal/plan", "internal/driver", "internal/store", "internal/secret"},
		why: "the store's interfaces know records only"},
	{from: "internal/store/sql", never: []string{"internal/engine", "internal/drivers", "internal/api", "internal/cli", "internal/source", "internal/config"},
		why: "the store does not know what uses it"},
	{from: "internal/source", never: []string{"internal/engine", "internal/drivers", "internal/api", "internal/cli", "internal/store"},
		why: "Git is read without knowing what for"},
	{from: "internal/engine", never: []string{"internal/drivers", "internal/api", "internal/cli", "internal/store/sql",
		"internal/source/forge/all", "internal/source/forge/github", "internal/source/forge/gitea", "internal/source/forge/gitlab",
		"internal/source/forge/bitbucket", "internal/source/forge/bitbucketdc", "github.com/google/go-github",
		"github.com/jackc/pgx", "modernc.org/sqlite", "github.com/miekg/dns", "github.com/spf13/cobra"},
		why: "the engine imports interfaces, never a driver, a database or an SDK"},
	{from: "internal/api", never: []string{"internal/drivers", "internal/cli", "internal/store/sql"}, why: "the API serves the engine"},
	{from: "internal", except: []string{"internal/cli", "internal/drivers/all", "internal/house"}, never: []string{"internal/drivers/all"},
		why: "only the command knows which drivers there are"},
}

func TestImports(t *testing.T) {
	fset := token.NewFileSet()
	for _, path := range goFiles(t) {
		f, err := parser.ParseFile(fset, root+path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		pkg := dir(path)
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, why := range forbidden(pkg, imp, strings.HasSuffix(path, "_test.go")) {
				t.Errorf("%s imports %s: %s", fset.Position(spec.Pos()), imp, why)
			}
		}
	}
}

// forbidden gives the rules that an import breaks. Tests may use what they
// need to set a scene, but drivers stay apart from each other even there.
func forbidden(pkg, imp string, test bool) []string {
	var out []string
	local, inModule := strings.CutPrefix(imp, module)
	for _, r := range importRules {
		if !below(pkg, r.from) || belowAny(pkg, r.except) || (test && !r.tests) || inModule && belowAny(local, r.may) {
			continue
		}
		switch {
		case r.std && !inModule && strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
			out = append(out, r.why)
		case inModule && len(r.only) > 0 && !belowAny(local, r.only):
			out = append(out, r.why)
		case belowAny(imp, r.never) || inModule && belowAny(local, r.never):
			out = append(out, r.why)
		}
	}
	if a, b := driverOf(pkg), driverOf(local); inModule && a != "" && b != "" && a != b && a != "all" {
		out = append(out, "a driver imports no other driver")
	}
	return out
}

func driverOf(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "internal/drivers/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func below(pkg, prefix string) bool { return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") }

func belowAny(pkg string, prefixes []string) bool {
	for _, p := range prefixes {
		if below(pkg, p) {
			return true
		}
	}
	return false
}

// TestForbidden makes sure that the rules bite.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		bad      bool
	}{
		{"internal/plan", "github.com/miekg/dns", true},
		{"internal/plan", "encoding/json", false},
		{"internal/driver/setplan", module + "internal/plan", false},
		{"internal/driver", module + "internal/store", true},
		{"internal/drivers/dns", module + "internal/drivers/files", true},
		{"internal/drivers/dns/zone", module + "internal/drivers/dns", false},
		{"internal/drivers/dns", module + "internal/engine", true},
		{"internal/drivers/all", module + "internal/drivers/dns", false},
		{"internal/engine", module + "internal/drivers/dns", true},
		{"internal/engine/gates", "github.com/miekg/dns", true},
		{"internal/engine", module + "internal/store", false},
		{"internal/store", module + "internal/store/sql", false},
		{"internal/api", module + "internal/drivers/all", true},
		{"cmd/trueup", module + "internal/drivers/all", false},
	} {
		if got := len(forbidden(c.pkg, c.imp, false)) > 0; got != c.bad {
			t.Errorf("%s importing %s: forbidden %v, want %v", c.pkg, c.imp, got, c.bad)
		}
	}
}
