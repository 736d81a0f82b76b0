package auth

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

func TestAllow(t *testing.T) {
	prod := Object{Environment: "prod-dns", Target: "infra/zone"}
	tests := []struct {
		name string
		id   Identity
		verb Verb
		o    Object
		ok   bool
	}{
		{"viewer reads", Identity{Role: Viewer}, Read, prod, true},
		{"viewer can't sync", Identity{Role: Viewer}, Sync, prod, false},
		{"operator syncs", Identity{Role: Operator}, Sync, prod, true},
		{"operator can't approve", Identity{Role: Operator}, Approve, prod, false},
		{"approver approves", Identity{Role: Approver}, Approve, prod, true},
		{"operator freezes", Identity{Role: Operator}, Freeze, Object{}, true},
		{"operator can't lift", Identity{Role: Operator}, Unfreeze, Object{}, false},
		{"approver can't destroy", Identity{Role: Approver}, Destroy, prod, false},
		{"admin destroys", Identity{Role: Admin}, Destroy, prod, true},
		{"no role", Identity{}, Read, prod, false},
		{"wrong role", Identity{Role: "root"}, Read, prod, false},
		{"unknown verb", Identity{Role: Admin}, "fly", prod, false},
		{"narrowed, inside", Identity{Role: Operator, Environments: []string{"prod-*"}}, Sync, prod, true},
		{"narrowed, outside", Identity{Role: Operator, Environments: []string{"test-*"}}, Sync, prod, false},
		{"narrowed, read outside", Identity{Role: Viewer, Environments: []string{"test-*"}}, Read, prod, false},
		{"narrowed can't freeze all", Identity{Role: Admin, Environments: []string{"*"}}, Freeze, Object{}, false},
		{"narrowed may poll", Identity{Role: Operator, Environments: []string{"x"}}, Poll, Object{Repository: "infra"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Allow(tt.id, tt.verb, tt.o)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if err != nil && !errors.Is(err, ErrDenied) {
				t.Fatalf("%v is not ErrDenied", err)
			}
		})
	}
}

func TestBearer(t *testing.T) {
	token, hash := NewToken()
	other, _ := NewToken()
	users := map[string]*config.User{
		"alice": {TokenHash: strings.ToUpper(hash), Role: "approver", Teams: []string{"sre"}},
		"empty": {TokenHash: "", Role: "admin"},
		"short": {TokenHash: "ab", Role: "admin"},
	}
	id, err := Bearer("Bearer "+token, users)
	if err != nil || id.Actor != "user:alice" || id.Role != Approver || id.Teams[0] != "sre" {
		t.Fatalf("%+v, %v", id, err)
	}
	for _, h := range []string{"", "Bearer ", "Bearer", "Basic " + token, "Bearer " + other, "Bearer " + hash} {
		if id, err := Bearer(h, users); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q gave %+v, %v", h, id, err)
		}
	}
}

func TestPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := accountName(uint32(os.Geteuid()))
	id, err := Peer(s.(*net.UnixConn), map[string]*config.User{name: {Teams: []string{"sre"}}})
	if err != nil || id.Role != Admin || string(id.Actor) != "user:"+name || len(id.Teams) != 1 {
		t.Fatalf("%+v, %v", id, err)
	}
}

func TestOtherAccountIsRefused(t *testing.T) {
	if id, err := forUID(4711, 1000, nil); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %+v, %v", id, err)
	}
	if id, err := forUID(0, 1000, nil); err != nil || id.Role != Admin {
		t.Fatalf("root: %+v, %v", id, err)
	}
}
