// Package source is where desired state comes from: one revision of a tree of
// files, seen through views that are confined to what a target declared. How
// the tree is kept (Git, a working tree, the store) is the business of the
// packages and types below it.
package source

import (
	"context"
	"time"

	"trueup.dev/trueup/internal/secret"
)

// Revision is one commit and how it was found.
type Revision struct {
	Commit string `json:"commit"`
	Tree   string `json:"tree"`
	// Ref is the branch or tag that was followed, in full (refs/heads/main).
	Ref string `json:"ref,omitempty"`
	// Tag is the short name of the tag that was followed.
	Tag         string    `json:"tag,omitempty"`
	Author      string    `json:"author,omitempty"`
	AuthorEmail string    `json:"authorEmail,omitempty"`
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time,omitzero"`
	Parents     []string  `json:"parents,omitempty"`
	// SignedBy names the key of the policy that signed it.
	SignedBy string `json:"signedBy,omitempty"`
	// Dirty tells that a working tree differs from Commit.
	Dirty bool `json:"dirty,omitempty"`
}

// Options say what to fetch, from where, and on which conditions to trust it.
type Options struct {
	// URL is https://, http://, ssh://, user@host:path, or a local path. It
	// holds no password: that belongs in Credentials.
	URL         string
	Follow      Follow
	Refs        []string // further refs to keep, as "refs/pull/*/head"
	Credentials Credentials
	// Signatures is nil when no signature is asked for.
	Signatures *SignaturePolicy
	Rewind     RewindPolicy
	// Accepted is the last commit that was applied, for a mirror that remembers
	// nothing itself.
	Accepted   string
	Submodules Submodules
	LFS        LFS
	Timeout    time.Duration // of one network command; 0 means 5 minutes
	Limits     Limits
}

// Follow says what decides the revision. At most one field is set; with none
// it is the head of the server's default branch.
type Follow struct {
	Branch string
	// TagPattern is a range of semantic versions (">=1.2 <2", "^1.2", "1.x")
	// or a glob ("release-*"). The highest version wins.
	TagPattern string
	Commit     string
}

// Credentials open a repository. Which of them count follows from the URL.
type Credentials struct {
	Username string
	Password secret.Value // https
	Token    secret.Value // https; the user name is "x-access-token" if none is given
	// Fresh gives the token where it changes, such as a GitHub App's; it is
	// asked before each command that uses the network. https.
	Fresh  func(ctx context.Context) (secret.Value, error)
	SSHKey secret.Value // ssh: a private key in PEM form
	// SSHPassphrase opens SSHKey where it is encrypted.
	SSHPassphrase secret.Value
	// KnownHosts is the text of a known_hosts file. Without it no ssh server
	// is trusted.
	KnownHosts string
	CA         string // https: PEM certificates that are trusted instead of the system's
}

// Submodules says whether and from where submodules are read.
type Submodules struct {
	Enabled bool
	// Allow lists URL prefixes that submodules may come from, beside the host
	// of the repository itself.
	Allow []string
}

// LFS says whether and from where Git LFS objects are read.
type LFS struct {
	Enabled bool
	URL     string // of the LFS server; the default follows from the repository's URL
}

// Limits bound what a repository may cost. Zero means the default.
type Limits struct {
	Blob  int64 // bytes of one file, 64 MiB
	Total int64 // bytes of all files that one view reads, 1 GiB
	Disk  int64 // bytes that a mirror may keep after gc, 4 GiB
	Nodes int   // entries visited by one walk, 2,000,000
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.Blob == 0 {
		l.Blob = 64 << 20
	}
	if l.Total == 0 {
		l.Total = 1 << 30
	}
	if l.Disk == 0 {
		l.Disk = 4 << 30
	}
	if l.Nodes == 0 {
		l.Nodes = 2_000_000
	}
	return l
}

// RewindPolicy says what happens when the followed ref leaves the history
// that was accepted before: a force push, a moved or removed tag.
type RewindPolicy string

// The rewind policies. The empty one is RefuseRewind.
const (
	RefuseRewind RewindPolicy = "refuse"
	FollowRewind RewindPolicy = "follow"
)

// SignaturePolicy asks for signatures by listed keys.
type SignaturePolicy struct {
	// Verify says what must be signed; empty means VerifyTag where a tag is
	// followed and VerifyHead elsewhere.
	Verify  Verify
	GPGKeys []string // armoured public keys
	// SSHKeys are the texts of authorized_keys or allowed signers files, or
	// single lines of them.
	SSHKeys []string
}

// Verify says what must be signed.
type Verify string

// What must be signed.
const (
	VerifyHead       Verify = "head"       // the commit
	VerifyTag        Verify = "tag"        // the tag object
	VerifyTagAndHead Verify = "tagAndHead" // both
	VerifyAll        Verify = "all"        // every commit since the last one accepted
)
