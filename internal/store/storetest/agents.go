package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

func init() {
	register("agents/enrolment", agentEnrolment)
	register("agents/calls and revocation", agentCalls)
	register("agents/mailbox", agentMailbox)
	register("agents/mailbox ends", agentMailboxEnds)
	register("agents/corrections", agentCorrections)
	register("agents/replicas", agentReplicas)
}

func (e *env) enrol(host, key string) store.Agent {
	e.t.Helper()
	hash := fmt.Sprintf("%s-%s", host, key)
	e.ok(e.PutAgentToken(e.ctx, store.AgentToken{Hash: hash, Hosts: []string{host}, Actor: "user:alice", ExpiresAt: e.clock.Now().Add(time.Hour)}))
	a, err := e.Enrol(e.ctx, hash, store.Agent{Host: host, PublicKey: key, ExpiresAt: e.clock.Now().Add(24 * time.Hour)})
	e.ok(err)
	return a
}

func agentEnrolment(e *env) {
	until := e.clock.Now().Add(time.Hour)
	e.ok(e.PutAgentToken(e.ctx, store.AgentToken{Hash: "t1", Hosts: []string{"a", "b"}, Actor: "user:alice", ExpiresAt: until}))
	try := func(hash, host string) error {
		_, err := e.Enrol(e.ctx, hash, store.Agent{Host: host, PublicKey: "k-" + host, ExpiresAt: until})
		return err
	}
	e.missing("another host", try("t1", "c"))
	e.missing("another token", try("t2", "a"))
	e.ok(try("t1", "a"))
	e.missing("a token used twice", try("t1", "a"))
	e.ok(try("t1", "b"))
	list, err := e.Agents(e.ctx)
	e.ok(err)
	e.equal("agents", line(len(list), list[0].Host, list[0].State, list[0].EnrolledBy, list[1].PublicKey), "2 a active user:alice k-b")
	e.ok(e.PutAgentToken(e.ctx, store.AgentToken{Hash: "t3", Hosts: []string{"c"}, Actor: "user:alice", ExpiresAt: until}))
	e.clock.Move(time.Hour)
	e.missing("a token that is over", try("t3", "c"))
}

func (e *env) call(host, key, nonce string) error {
	return e.Called(e.ctx, store.AgentCall{Host: host, PublicKey: key, Nonce: nonce, Boot: "boot1", Version: "v", Address: "192.0.2.1", Keep: time.Minute})
}

func agentCalls(e *env) {
	e.enrol("a", "k1")
	e.ok(e.call("a", "k1", "n1"))
	if err := e.call("a", "k1", "n1"); !errors.Is(err, store.ErrConflict) {
		e.t.Fatalf("a nonce used twice: %v", err)
	}
	e.clock.Move(2 * time.Minute)
	e.ok(e.call("a", "k1", "n1"))
	e.missing("another key", e.call("a", "k2", "n3"))
	a, err := e.Agent(e.ctx, "a")
	e.ok(err)
	e.equal("seen", line(a.SeenAt.Equal(e.clock.Now()), a.Boot, a.Address), "true boot1 192.0.2.1")
	e.missing("renewal with a wrong key", e.RenewAgent(e.ctx, "a", "k9", "k2", e.clock.Now().Add(time.Hour)))
	e.ok(e.RenewAgent(e.ctx, "a", "k1", "k2", e.clock.Now().Add(time.Hour)))
	e.missing("the old key", e.call("a", "k1", "n4"))
	e.ok(e.call("a", "k2", "n5"))
	e.clock.Move(time.Hour)
	e.missing("a key that is over", e.call("a", "k2", "n6"))

	e.enrol("b", "kb")
	before, err := e.NextGeneration(e.ctx, "b")
	e.ok(err)
	e.ask("b", "r1")
	e.ok(e.PutAgentToken(e.ctx, store.AgentToken{Hash: "left", Hosts: []string{"b"}, ExpiresAt: e.clock.Now().Add(time.Hour)}))
	e.ok(e.Revoke(e.ctx, "b"))
	e.missing("a revoked agent", e.call("b", "kb", "n1"))
	_, err = e.TakeRequest(e.ctx, "b", "boot1", nil)
	e.missing("a request of a revoked agent", err)
	_, err = e.NextGeneration(e.ctx, "b")
	e.missing("a request to a revoked agent", err)
	_, err = e.Enrol(e.ctx, "left", store.Agent{Host: "b", PublicKey: "x", ExpiresAt: e.clock.Now().Add(time.Hour)})
	e.missing("a token from before the revocation", err)
	e.missing("an agent that is not there", e.Revoke(e.ctx, "zz"))
	e.enrol("b", "kb2")
	after, err := e.NextGeneration(e.ctx, "b")
	e.ok(err)
	if after <= before {
		e.t.Fatalf("the generation fell from %d to %d over a new enrolment", before, after)
	}
}

// ask puts a request of a minute's life.
func (e *env) ask(host, id string) int64 {
	e.t.Helper()
	gen, err := e.NextGeneration(e.ctx, host)
	e.ok(err)
	e.ok(e.PutRequest(e.ctx, store.AgentRequest{ID: id, Host: host, Generation: gen, Body: []byte("body of " + id), Life: time.Minute}))
	return gen
}

func (e *env) follow(id string, after int64) store.AgentProgress {
	e.t.Helper()
	p, err := e.Follow(e.ctx, id, store.AgentFollow{After: after, Life: time.Minute})
	e.ok(err)
	return p
}

func agentMailbox(e *env) {
	e.enrol("a", "ka")
	e.enrol("b", "kb")
	e.ok(e.call("a", "ka", "n1"))
	e.ok(e.call("b", "kb", "n1"))
	one, two := e.ask("a", "r1"), e.ask("a", "r2")
	if two <= one {
		e.t.Fatalf("generations %d and %d do not grow", one, two)
	}
	_, err := e.TakeRequest(e.ctx, "b", "boot1", nil)
	e.missing("another host's request", err)
	_, err = e.TakeRequest(e.ctx, "a", "boot0", nil)
	e.missing("a request for a process that did not call last", err)
	r, err := e.TakeRequest(e.ctx, "a", "boot1", nil)
	e.ok(err)
	e.equal("request", line(r.ID, r.Generation == one, string(r.Body)), "r1 true body of r1")
	again, err := e.TakeRequest(e.ctx, "a", "boot1", nil)
	e.ok(err)
	next, err := e.TakeRequest(e.ctx, "a", "boot1", []string{"r1"})
	e.ok(err)
	e.equal("handed out", line(again.ID, next.ID), "r1 r2")
	e.equal("state", e.follow("r1", 0).State, store.AskTaken)

	add := func(host, id string, seq int64, body string) (store.AgentAck, error) {
		return e.AddMessage(e.ctx, host, id, store.AgentMessage{Seq: seq, Body: []byte(body)})
	}
	_, err = add("b", "r1", 1, "forged")
	e.missing("an answer to another host's request", err)
	ack, err := add("a", "r1", 1, "hello")
	e.ok(err)
	e.equal("not yet answered", ack.Acked, false)
	_, err = add("a", "r1", 2, "world")
	e.ok(err)
	_, err = add("a", "r1", 1, "again, and different")
	e.ok(err)
	p := e.follow("r1", 0)
	e.equal("messages", line(len(p.Messages), string(p.Messages[0].Body), string(p.Messages[1].Body)), "2 hello world")
	e.equal("later messages", len(e.follow("r1", 2).Messages), 0)
	e.ok(e.Ack(e.ctx, "r1", 1, ""))
	e.ok(e.Ack(e.ctx, "r1", 2, "no"))
	ack, err = add("a", "r1", 2, "world")
	e.ok(err)
	e.equal("answer", line(ack.Acked, ack.Refusal), "true no")

	e.ok(e.PutAgentBlob(e.ctx, "r1", "s1", []byte("content")))
	body, err := e.AgentBlob(e.ctx, "a", "r1", "s1")
	e.ok(err)
	e.equal("content", string(body), "content")
	_, err = e.AgentBlob(e.ctx, "b", "r1", "s1")
	e.missing("another host's content", err)
	_, err = e.AgentBlob(e.ctx, "a", "r2", "s1")
	e.missing("another request's content", err)
}

func agentMailboxEnds(e *env) {
	e.enrol("a", "ka")
	e.ok(e.call("a", "ka", "n1"))
	e.ask("a", "r1")
	_, err := e.TakeRequest(e.ctx, "a", "boot1", nil)
	e.ok(err)
	p, err := e.Follow(e.ctx, "r1", store.AgentFollow{Life: time.Minute, Cancel: true})
	e.ok(err)
	e.equal("cancelled", p.State, store.AskCancelled)
	state, err := e.RequestState(e.ctx, "a", "r1")
	e.ok(err)
	e.equal("cancelled for the agent", state, store.AskCancelled)
	_, err = e.TakeRequest(e.ctx, "a", "boot2", nil)
	e.missing("a lost one is not handed out again", err)
	e.equal("lost with its process", e.follow("r1", 0).State, store.AskLost)
	e.ok(e.EndRequest(e.ctx, "r1"))
	_, err = e.RequestState(e.ctx, "a", "r1")
	e.missing("an ended request", err)
	_, err = e.Follow(e.ctx, "r1", store.AgentFollow{Life: time.Minute})
	e.missing("following an ended request", err)
	e.missing("answering an ended request", e.Ack(e.ctx, "r1", 1, ""))

	e.ask("a", "r2")
	e.clock.Move(2 * time.Minute)
	_, err = e.TakeRequest(e.ctx, "a", "boot2", nil)
	e.missing("a request whose run is gone", err)
	_, err = e.AddMessage(e.ctx, "a", "r2", store.AgentMessage{Seq: 1})
	e.missing("an answer to a run that is gone", err)
}

func agentCorrections(e *env) {
	l := e.hold("a/1")
	c := store.AgentCorrection{ID: "c1", Host: "h", Target: "a/1", At: e.clock.Now(), Ended: e.clock.Now(), Generation: 7, Realm: map[plan.Scope]string{"h": "r"},
		Results: []plan.Result{{Key: plan.Key{Scope: "h", Address: "/etc/motd"}, Action: plan.Update, Outcome: plan.Applied}}}
	e.ok(e.AddCorrection(e.ctx, c))
	e.ok(e.AddCorrection(e.ctx, c))
	list, err := e.Corrections(e.ctx, "a/1")
	e.ok(err)
	e.equal("corrections", line(len(list), list[0].Generation, list[0].Results[0].Address, list[0].Realm["h"]), "1 7 /etc/motd r")
	stale := l.Fence
	stale.Token--
	if err := e.DropCorrection(e.ctx, stale, "c1"); !errors.Is(err, store.ErrFenced) {
		e.t.Fatalf("dropped under a stale fence: %v", err)
	}
	e.ok(e.DropCorrection(e.ctx, l.Fence, "c1"))
	list, err = e.Corrections(e.ctx, "a/1")
	e.ok(err)
	e.equal("corrections left", len(list), 0)
	// What one host may leave behind has a bound.
	for i := range 1000 {
		c.ID = fmt.Sprint("n", i)
		e.ok(e.AddCorrection(e.ctx, c))
	}
	e.ok(e.AddCorrection(e.ctx, c)) // told again
	c.ID = "one too many"
	if err := e.AddCorrection(e.ctx, c); !errors.Is(err, store.ErrConflict) {
		e.t.Fatalf("a thousand corrections and one more: %v", err)
	}
	c.Host = "other"
	e.ok(e.AddCorrection(e.ctx, c))
}

// agentReplicas has the run on one replica and the agent on another.
func agentReplicas(e *env) {
	if e.backend.Second == nil {
		return
	}
	other := e.backend.Second(e.t, e.clock.Now)
	e.enrol("a", "ka")
	e.ok(e.call("a", "ka", "n1"))
	rings, stop := other.Bell(store.TopicHost("a"))
	defer stop()
	e.heard(rings, func() { e.ask("a", "r1") })
	r, err := other.TakeRequest(e.ctx, "a", "boot1", nil)
	e.ok(err)
	e.equal("body", strings.Clone(string(r.Body)), "body of r1")
	run, stopRun := e.Bell(store.TopicRun("r1"))
	defer stopRun()
	e.heard(run, func() {
		_, err := other.AddMessage(e.ctx, "a", "r1", store.AgentMessage{Seq: 1, Body: []byte("hi")})
		e.ok(err)
	})
	e.equal("message", string(e.follow("r1", 0).Messages[0].Body), "hi")
	acks, stopAcks := other.Bell(store.TopicAck("r1"))
	defer stopAcks()
	e.heard(acks, func() { e.ok(e.Ack(e.ctx, "r1", 1, "")) })
}

// heard does something and waits for the bell, which rings also when a
// listener has only just connected.
func (e *env) heard(rings <-chan struct{}, do func()) {
	e.t.Helper()
	do()
	select {
	case <-rings:
	case <-time.After(time.Minute):
		e.t.Fatal("the bell did not ring")
	}
}
