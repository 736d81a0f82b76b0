// Package wire is what agents and server say to each other: requests that the
// agent signs, envelopes that the server signs, and the messages within. See
// docs/adr/0026-agents-call-in.md.
package wire

import (
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// The calls, all POST.
const (
	Prefix      = "/agent/v1/"
	PathEnrol   = Prefix + "enrol"
	PathPoll    = Prefix + "poll"
	PathContent = Prefix + "content"
	PathMessage = Prefix + "message"
	PathDrift   = Prefix + "drift"
	PathRenew   = Prefix + "renew"
)

// Limits of bodies, in bytes.
const (
	MaxSmall    = 64 << 10  // enrol, poll, content, renew
	MaxMessage  = 900 << 10 // one message, one report of drift
	MaxPart     = 512 << 10 // a part of an answer
	MaxRequest  = 64 << 20  // a request to an agent, without content
	MaxContent  = 64 << 20  // one file's content
	MaxBundle   = 256 << 20 // all content of a bundle
	MaxAnswer   = 64 << 20  // an answer, put together
	MaxContents = 256       // contents asked for at once
)

// Times.
const (
	// MaxWait is how long a poll waits: an agent that lives is seen as often.
	MaxWait = 10 * time.Second
	// MaxAckWait is how long a message waits for its answer.
	MaxAckWait = 15 * time.Second
	// Life is how long a request stays wanted without its run.
	Life = 30 * time.Second
	// Silence is how long an agent may be quiet before it counts as away. It
	// polls while it works.
	Silence = 30 * time.Second
	// Fetch is how long an agent may take to fetch a request. It waits for one
	// all the time.
	Fetch = MaxWait + 3*time.Second
	// Window is how far the time of a signed call may be off.
	Window = 5 * time.Minute
)

// Enrol asks to be taken in with a one-time token.
type Enrol struct {
	Host      string `json:"host"`
	Token     string `json:"token"`
	PublicKey []byte `json:"publicKey"`
	// Proof is a signature with the key that belongs to PublicKey.
	Proof   []byte `json:"proof"`
	Version string `json:"version"`
}

// Enrolled takes an agent in.
type Enrolled struct {
	Host string `json:"host"`
	// ServerKey signs every request.
	ServerKey []byte    `json:"serverKey"`
	Expires   time.Time `json:"expires"`
	Now       time.Time `json:"now"`
}

// Renew replaces the agent's key. The call is signed with the old one.
type Renew struct {
	PublicKey []byte `json:"publicKey"`
	Proof     []byte `json:"proof"`
}

// Poll asks for a request.
type Poll struct {
	Boot    string `json:"boot"`
	Version string `json:"version"`
	// Working lists the requests that the agent works on.
	Working []string `json:"working,omitempty"`
	// Kept lists the targets whose state the agent keeps.
	Kept []string `json:"kept,omitempty"`
	// Wait is how many milliseconds the call may wait.
	Wait int64 `json:"wait"`
	// Full tells that the agent takes no request now.
	Full bool `json:"full,omitempty"`
}

// Polled is what there is to do.
type Polled struct {
	Request *Envelope `json:"request,omitempty"`
	// Stop lists requests of Working that are not wanted any more.
	Stop []string `json:"stop,omitempty"`
	// Alone says for each kept target what the agent may do while the server is
	// away.
	Alone   map[string]Alone `json:"alone,omitempty"`
	Now     time.Time        `json:"now"`
	Expires time.Time        `json:"expires"`
}

// Alone is what an agent may do about drift of one target by itself.
type Alone struct {
	// Correct is false where drift is only looked for, with the reason.
	Correct bool   `json:"correct"`
	Why     string `json:"why,omitempty"`
	// Forget tells that the target is gone: what is kept for it goes.
	Forget bool                    `json:"forget,omitempty"`
	Every  time.Duration           `json:"every"`
	Guard  map[string]config.Limit `json:"guard,omitempty"`
	// Flapping is how many corrections of one object within an hour are too
	// many.
	Flapping int `json:"flapping,omitempty"`
}

// Request is an Ask addressed to one host.
type Request struct {
	ID   string `json:"id"`
	Host string `json:"host"`
	// Generation only grows: what is older than what was applied is refused.
	Generation int64     `json:"generation"`
	Issued     time.Time `json:"issued"`
	driver.Ask
}

// ContentAsk asks for content of a request.
type ContentAsk struct {
	Request string   `json:"request"`
	Sums    []string `json:"sums"`
}

// MessageCall brings one message of a request.
type MessageCall struct {
	Request string `json:"request"`
	Seq     int64  `json:"seq"`
	Message []byte `json:"message"` // a Message, packed
}

// MessageAnswer is what the run says to it.
type MessageAnswer struct {
	// Acked is false when nobody answered in time: ask again.
	Acked   bool   `json:"acked"`
	Refusal string `json:"refusal,omitempty"`
	Stop    bool   `json:"stop,omitempty"`
}

// Kind is the kind of a message.
type Kind string

// The kinds: the journal before and after a write, lines for the run's log,
// content that is missing, a part of the answer.
const (
	Pending Kind = "pending"
	Done    Kind = "done"
	Log     Kind = "log"
	Need    Kind = "need"
	Part    Kind = "part"
)

// Message is a part of what an agent answers.
type Message struct {
	Kind    Kind          `json:"kind"`
	Keys    []plan.Key    `json:"keys,omitempty"`
	Results []plan.Result `json:"results,omitempty"`
	Lines   []string      `json:"lines,omitempty"`
	Sums    []string      `json:"sums,omitempty"`
	Part    []byte        `json:"part,omitempty"`
	Last    bool          `json:"last,omitempty"`
}

// Outcome is an Answer with its error. Its JSON is packed and cut into parts.
type Outcome struct {
	driver.Answer
	Error *Fault `json:"error,omitempty"`
}

// Drift reports what an agent did alone.
type Drift struct {
	store.AgentCorrection
}

// Problem is the body of a refused call.
type Problem struct {
	Error string `json:"error"`
}
