package ssh

import (
	"encoding/json"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// TestContentOfOthersIsMasked: whoever may write to the repository can't read
// hosts through its plans, by asking for what others have there.
func TestContentOfOthersIsMasked(t *testing.T) {
	const canary = "PASSWORD=canary-8812"
	unit, want := "[Service]\n"+canary+"\n", "[Service]\n"
	fact := &pathFact{Mode: typeFile | 0o600, Sum: "x"}
	a := &answer{facts: &Facts{Init: "systemd"}, paths: map[string]*pathFact{}, contents: map[string][]byte{}, parts: map[string][]byte{
		"units":               []byte("Id=app.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"),
		markName("compose:p"): []byte("= 0\n"),
	}}
	for _, name := range []string{"/etc/systemd/system/app.service", "/srv/p/compose.yaml", "/etc/cron.d/job", "/etc/f"} {
		a.paths[name], a.contents[name] = fact, []byte(unit)
	}
	begin, end := markers("#", "trueup")
	a.contents["/etc/f"] = []byte(begin + "\n" + canary + "\n" + end + "\n")
	for address, c := range map[plan.Address]struct {
		kind kind
		want state
		at   string
	}{
		"unit:app.service":    {unitKind{}, &unitState{Content: &want, name: "app.service"}, "/content"},
		"compose:p":           {composeKind{}, &composeState{Dir: "/srv/p", Content: "x"}, "/content"},
		"cron:job":            {cronKind{}, &cronState{User: "root", Text: "x"}, "/text"},
		"block:/etc/f#trueup": {blockKind{}, &blockState{Comment: "#", Content: "x\n"}, "/content"},
	} {
		name := c.kind.info().names[0]
		for what, sub := range map[string]subject{
			"of others": {},
			"secret":    {owned: &driver.Owned{}, was: map[string]state{"unit": &unitState{Content: &want, Secret: true}, "compose": &composeState{Dir: "/srv/p", Secret: true}, "block": &blockState{Comment: "#", Sensitive: true}}[name]},
			"ours":      {owned: &driver.Owned{}},
		} {
			if what == "secret" && sub.was == nil {
				continue
			}
			sub.address, sub.kind, sub.want = address, name, &object{Address: address, Kind: name, State: c.want}
			found, err := c.kind.observe(a, []subject{sub})
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %v %+v", address, err, found)
			}
			doc, masked := found[0].State.show()
			body, err := json.Marshal(doc)
			if err != nil || !strings.Contains(string(body), canary) {
				t.Fatalf("%s: %v %s", address, err, body)
			}
			if hidden := len(masked) == 1 && masked[0] == c.at; hidden != (what != "ours") {
				t.Errorf("%s, %s: masked are %v", address, what, masked)
			}
		}
	}
}
