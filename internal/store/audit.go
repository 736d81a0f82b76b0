package store

import (
	"context"
	"time"
)

// Audit is the chain over the events: each has a hash that covers the one
// before it, and a signature.
type Audit interface {
	// AuditKey gives the public key that checks the signatures, as text.
	AuditKey(ctx context.Context) (string, error)
	// AuditAnchor gives the last event that was dropped; zero is none.
	AuditAnchor(ctx context.Context) (AuditAnchor, error)
	// SignAudit signs a text with the key of the record, for exports.
	SignAudit(ctx context.Context, text string) (string, error)
	// VerifyAudit checks the whole chain, and runs and approvals against it.
	VerifyAudit(ctx context.Context) (AuditReport, error)
}

// AuditAnchor is the event that the chain begins behind.
type AuditAnchor struct {
	Seq  int64     `json:"seq,omitempty"`
	At   time.Time `json:"at,omitzero"`
	Hash string    `json:"hash,omitempty"`
	Sig  string    `json:"sig,omitempty"`
}

// AuditReport is what a check of the record found.
type AuditReport struct {
	Events int64 `json:"events"`
	// Unchained are events from before there was a chain.
	Unchained int64       `json:"unchained,omitempty"`
	First     int64       `json:"first,omitempty"`
	Last      int64       `json:"last,omitempty"`
	Runs      int64       `json:"runs,omitempty"`      // rows that were compared
	Approvals int64       `json:"approvals,omitempty"` // rows that were compared
	Head      string      `json:"head,omitempty"`      // hash of the last event
	Anchor    AuditAnchor `json:"anchor,omitzero"`
	Key       string      `json:"key,omitempty"`
	// Broken is the first thing that is not what it was; nil is none.
	Broken *AuditBreak `json:"broken,omitempty"`
}

// AuditBreak is something that was changed, added or removed past trueup.
type AuditBreak struct {
	Seq  int64  `json:"seq,omitempty"` // of the event
	What string `json:"what"`          // record 12, run r26…, approval …
	Why  string `json:"why"`
}
