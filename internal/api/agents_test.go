package api

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/store"
)

// office is some agents, and the inventory's hosts.
type office struct {
	Agents
	list  []store.Agent
	hosts []driver.Host
}

func (o *office) List(context.Context) ([]store.Agent, error)  { return o.list, nil }
func (o *office) Hosts(context.Context) ([]driver.Host, error) { return o.hosts, nil }

// TestTokenOfAGroupTakesNobodysPlace: a token for a group lets its holder in
// as any of the hosts, so it is not for hosts that have an agent.
func TestTokenOfAGroupTakesNobodysPlace(t *testing.T) {
	later := time.Now().Add(time.Hour)
	o := &office{list: []store.Agent{{Host: "a", State: store.AgentActive, ExpiresAt: later}, {Host: "b", State: store.AgentRevoked, ExpiresAt: later}}}
	for _, n := range []string{"a", "b", "c"} {
		o.hosts = append(o.hosts, driver.Host{Name: n, Groups: []string{"g"}, Agent: true})
	}
	s := &Server{Options: Options{Agents: o}}
	hosts, listed, err := s.agentHosts(t.Context(), &AgentToken{Group: "g"})
	if err != nil || !listed || !slices.Equal(hosts, []string{"b", "c"}) {
		t.Errorf("%v %v %v", hosts, listed, err)
	}
	if hosts, _, err = s.agentHosts(t.Context(), &AgentToken{Host: "a"}); err != nil || !slices.Equal(hosts, []string{"a"}) {
		t.Errorf("a host that is named is not enrolled anew: %v %v", hosts, err)
	}
	o.hosts = o.hosts[:1]
	if _, _, err = s.agentHosts(t.Context(), &AgentToken{Group: "g"}); err == nil || !strings.Contains(err.Error(), "has an agent") {
		t.Errorf("%v", err)
	}
}
