package store

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// AgentState says whether an agent is let in.
type AgentState string

// The agent states.
const (
	AgentActive  AgentState = "active"
	AgentRevoked AgentState = "revoked"
)

// Agent is a process on a host that calls in, with the key that it signs with.
type Agent struct {
	Host       string     `json:"host"`
	PublicKey  string     `json:"publicKey"` // Ed25519, base64
	State      AgentState `json:"state"`
	EnrolledAt time.Time  `json:"enrolledAt"`
	EnrolledBy Actor      `json:"enrolledBy"` // who made the token
	ExpiresAt  time.Time  `json:"expiresAt"`
	SeenAt     time.Time  `json:"seenAt,omitzero"`
	Version    string     `json:"version,omitempty"`
	Boot       string     `json:"boot,omitempty"` // changes with each start of the process
	Address    string     `json:"address,omitempty"`
	// Generation is that of the newest request.
	Generation int64 `json:"generation"`
}

// AgentToken lets each of some hosts enrol once.
type AgentToken struct {
	Hash      string // hex SHA-256 of the token
	Hosts     []string
	Actor     Actor
	ExpiresAt time.Time
}

// AgentCall is one request of an agent that was recognised.
type AgentCall struct {
	Host, PublicKey, Nonce string
	Boot, Version, Address string
	// Keep is how long nonces are remembered.
	Keep time.Duration
}

// Agents keeps who calls in.
type Agents interface {
	PutAgentToken(ctx context.Context, t AgentToken) error
	// Enrol uses a token up for a host and takes its agent in, both or neither.
	// ErrNotFound: there is no such token for this host, or it is used or over.
	Enrol(ctx context.Context, tokenHash string, a Agent) (Agent, error)
	Agent(ctx context.Context, host string) (Agent, error)
	Agents(ctx context.Context) ([]Agent, error)
	// Called remembers the nonce and that the agent was seen. ErrConflict: the
	// nonce was there before; ErrNotFound: the agent is not active, its time is
	// over or it has another key now.
	Called(ctx context.Context, c AgentCall) error
}

// AgentAdmin changes agents.
type AgentAdmin interface {
	// Revoke shuts an agent out and ends its requests.
	Revoke(ctx context.Context, host string) error
	// RenewAgent replaces the key oldKey; ErrNotFound when it is not the one.
	RenewAgent(ctx context.Context, host, oldKey, newKey string, expires time.Time) error
}

// AgentRequestState is where a request to an agent is.
type AgentRequestState string

// The states of a request: not fetched yet; with the agent; to be stopped;
// lost with the process that had it.
const (
	AskWaiting   AgentRequestState = "waiting"
	AskTaken     AgentRequestState = "taken"
	AskCancelled AgentRequestState = "cancelled"
	AskLost      AgentRequestState = "lost"
)

// AgentRequest asks the agent of one host for something. Body is sealed at
// rest.
type AgentRequest struct {
	ID         string
	Host       string
	Generation int64
	State      AgentRequestState
	Body       []byte
	// Life is how long the request lasts without Follow.
	Life time.Duration
}

// AgentMessage is a part of an agent's answer, in order from 1.
type AgentMessage struct {
	Seq  int64
	Body []byte
}

// AgentFollow is how a run looks after its request.
type AgentFollow struct {
	After  int64         // messages after this one are given
	Life   time.Duration // from now
	Cancel bool          // ask the agent to stop
}

// AgentProgress is what became of a request so far.
type AgentProgress struct {
	State    AgentRequestState
	SeenAt   time.Time // the agent, at any call
	Now      time.Time // of the store
	Messages []AgentMessage
}

// AgentAck is what the run says to a message.
type AgentAck struct {
	Acked   bool
	Refusal string // why the message was not taken; the agent stops
	State   AgentRequestState
}

// AgentOutbox is the run's side of the mailbox.
type AgentOutbox interface {
	// NextGeneration gives the number of the host's next request: it only
	// grows, also over a restored backup.
	NextGeneration(ctx context.Context, host string) (int64, error)
	PutRequest(ctx context.Context, r AgentRequest) error
	Follow(ctx context.Context, id string, f AgentFollow) (AgentProgress, error)
	Ack(ctx context.Context, id string, seq int64, refusal string) error
	// EndRequest drops a request with all that belongs to it.
	EndRequest(ctx context.Context, id string) error
}

// AgentInbox is the agent's side of the mailbox. A request of another host, or
// one that has ended, gives ErrNotFound.
type AgentInbox interface {
	// TakeRequest hands the oldest waiting request to the agent's process, if
	// it is the one that called last. What was handed to it before and is not
	// among have got lost on the way and is handed out again. Requests that
	// another process of this agent had are lost.
	TakeRequest(ctx context.Context, host, boot string, have []string) (AgentRequest, error)
	// RequestState tells whether a request is still wanted.
	RequestState(ctx context.Context, host, id string) (AgentRequestState, error)
	// AddMessage keeps a message once, and gives what the run said to it.
	AddMessage(ctx context.Context, host, id string, m AgentMessage) (AgentAck, error)
	AgentBlob(ctx context.Context, host, id, sum string) ([]byte, error)
}

// AgentContent carries content and corrections.
type AgentContent interface {
	PutAgentBlob(ctx context.Context, id, sum string, body []byte) error
	// AddCorrection keeps what an agent did alone, once. ErrConflict: too many
	// of the host wait already.
	AddCorrection(ctx context.Context, c AgentCorrection) error
	Corrections(ctx context.Context, target string) ([]AgentCorrection, error)
	DropCorrection(ctx context.Context, f Fence, id string) error
	// Bell rings when something was put under a topic, also by another replica;
	// it may ring for nothing. stop must be called.
	Bell(topic string) (rings <-chan struct{}, stop func())
}

// AgentCorrection is drift that an agent corrected while it could not reach
// the server.
type AgentCorrection struct {
	ID     string    `json:"id"`
	Host   string    `json:"host"`
	Target string    `json:"target"`
	At     time.Time `json:"at"`
	Ended  time.Time `json:"ended"`
	// Generation is that of the request whose state was kept.
	Generation int64                 `json:"generation"`
	Realm      map[plan.Scope]string `json:"realm"`
	Results    []plan.Result         `json:"results"`
	Error      string                `json:"error,omitempty"`
}

// TopicHost rings when there is a request for a host.
func TopicHost(host string) string { return "h:" + host }

// TopicAck rings when a message of a request was answered.
func TopicAck(id string) string { return "a:" + id }

// TopicRun rings when a request got a message.
func TopicRun(id string) string { return "r:" + id }
