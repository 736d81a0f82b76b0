package exec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/plan"
)

// fakePulumi answers like pulumi 3: it insists on the arguments that the real
// program needs, and keeps its state in a file.
const fakePulumi = `#!/bin/sh
set -eu
state=$(cat "$HOME/../root/stack/statefile")
case " $* " in *" --non-interactive --stack acme/prod "*) ;; *) echo "bad arguments: $*" >&2; exit 9 ;; esac
urn='urn:pulumi:prod::net::aws:ec2/vpc:Vpc::main'
stack='{"op": "same", "urn": "urn:pulumi:prod::net::pulumi:pulumi:Stack::net-prod"}'
case $1 in
preview)
  [ "$2 $3" = "--json --save-plan" ]; echo the-plan >"$4"
  want=$(cat cidr)
  if [ "$want" = broken ]; then echo '{"diagnostics": [{"message": "no such region", "severity": "error"}]}'; exit 255; fi
  if [ ! -e "$state" ]; then
    step='{"op": "create", "urn": "'$urn'", "newState": {"type": "aws:ec2/vpc:Vpc", "inputs": {"cidr": "'$want'"}}}'
  elif [ "$(cat "$state")" = "$want" ]; then step='{"op": "same", "urn": "'$urn'"}'
  else
    old='"oldState": {"type": "aws:ec2/vpc:Vpc", "inputs": {"cidr": "'$(cat "$state")'"}}' new='"newState": {"type": "aws:ec2/vpc:Vpc", "inputs": {"cidr": "'$want'"}}'
    step='{"op": "create-replacement", "urn": "'$urn'", '$old', '$new'}, {"op": "replace", "urn": "'$urn'", '$old', '$new'}, {"op": "delete-replaced", "urn": "'$urn'", '$old'}'
  fi
  echo '{"steps": ['"$stack, $step"'], "duration": 1, "changeSummary": {"same": 1}}' ;;
up) [ "$2 $3 $4" = "--yes --skip-preview --plan" ]; [ "$(cat "$5")" = the-plan ]; cp cidr "$state"; echo "updated" ;;
destroy) [ "$2 $3" = "--yes --skip-preview" ]; rm -f "$state" ;;
stack) [ "$2 $3" = "output --json" ]; echo '{"vpc_id": "vpc-1", "token": "[secret]"}' ;;
*) exit 9 ;;
esac
`

// fakeDNSControl answers like dnscontrol 4.
const fakeDNSControl = `#!/bin/sh
set -eu
[ "$1 $3 $5" = "--no-colors --config --report" ]
live=$(sed -n 's/^live //p' "$4") want=$(sed -n 's/^record //p' "$4")
n=0; [ "$(cat "$live" 2>/dev/null)" = "$want" ] || n=1
[ "$n" = 0 ] || echo "#1: + CREATE A www.example.com $want"
case $2 in preview) ;; push) echo "$want" >"$live" ;; *) exit 9 ;; esac
echo '[{"domain": "example.com", "corrections": '$n', "provider": "bind"}, {"domain": "example.com", "corrections": 0, "registrar": "none"}]' >"$6"
`

func program(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// life is a target with a preset through its life.
type life struct {
	t   *testing.T
	s   driver.Session
	in  driver.Input
	own driver.Inventory
}

func (l *life) plan() *plan.Plan {
	l.t.Helper()
	l.in.Inventory = l.own
	p, err := l.s.Plan(l.t.Context(), l.in)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *life) apply(p *plan.Plan) {
	l.t.Helper()
	j := drivertest.NewJournal(l.own, p)
	if err := l.s.Apply(l.t.Context(), l.in, p, j); err != nil {
		l.t.Fatalf("%v\n%s", err, j.Log())
	}
	l.own = j.Inventory()
}

// preset opens a preset whose program is replaced by another one.
func preset(t *testing.T, c *exec.Connect, tool string) driver.Session {
	t.Helper()
	if tool != "" {
		exec.ReplaceProgram(c, tool)
	}
	return open(t, c)
}

func TestPulumiPreset(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	l := &life{t: t, s: preset(t, &exec.Connect{Preset: "pulumi", Stack: "acme/prod"}, program(t, fakePulumi)), in: input(nil)}
	tree := fstest.MapFS{"stack/statefile": {Data: []byte(state)}, "stack/cidr": {Data: []byte("10.0.0.0/16")}}
	l.in.Tree, l.in.Path = tree, "stack"
	p := l.plan()
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Create || p.Changes[0].Kind != "aws:ec2/vpc:Vpc" || string(p.Artefact) != "the-plan\n" {
		t.Fatalf("%+v", p)
	}
	l.apply(p)
	p = l.plan()
	if !p.Empty() || string(p.Outputs["vpc_id"].Value) != `"vpc-1"` || len(p.Outputs) != 1 {
		t.Fatalf("after apply: %+v", p)
	}
	tree["stack/cidr"] = &fstest.MapFile{Data: []byte("10.1.0.0/16")}
	p = l.plan()
	if len(p.Changes) != 1 || p.Changes[0].Action != plan.Replace || p.Changes[0].Impact[0].Replace != 1 ||
		string(p.Changes[0].Before) != `{"cidr":"10.0.0.0/16"}` || string(p.Changes[0].After) != `{"cidr":"10.1.0.0/16"}` {
		t.Fatalf("a replacement: %+v", p.Changes)
	}
	l.apply(p)
	tree["stack/cidr"] = &fstest.MapFile{Data: []byte("broken")}
	if _, err := l.s.Plan(t.Context(), l.in); err == nil || !strings.Contains(err.Error(), "no such region") {
		t.Errorf("a failed preview: %v", err)
	}
	l.in.Mode = plan.Destroy
	l.apply(l.plan())
	if _, err := os.Stat(state); err == nil || len(l.own) != 0 {
		t.Errorf("destroy left %v, %v", err, l.own)
	}
}

func TestDNSControlPreset(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	l := &life{t: t, s: preset(t, &exec.Connect{Preset: "dnscontrol"}, program(t, fakeDNSControl)), in: input(nil)}
	tree := fstest.MapFS{"dnsconfig.js": {Data: []byte("live " + live + "\nrecord 192.0.2.1\n")}}
	l.in.Tree, l.in.Path = tree, "dnsconfig.js"
	p := l.plan()
	writes := 0
	for _, c := range p.Changes {
		if c.Action.Writes() {
			writes++
			if c.Address != "example.com/bind" || !c.Simulated || !strings.Contains(c.Note, "CREATE A www") || c.Impact[0].Update != 1 {
				t.Errorf("%+v", c)
			}
		}
	}
	if writes != 1 {
		t.Fatalf("%+v", p.Changes)
	}
	l.apply(p)
	if p := l.plan(); !p.Empty() {
		t.Fatalf("after apply: %+v", p.Changes)
	}
	if b, _ := os.ReadFile(live); string(b) != "192.0.2.1\n" {
		t.Errorf("live is %q", b)
	}
}
