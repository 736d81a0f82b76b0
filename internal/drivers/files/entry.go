package files

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"trueup.dev/trueup/internal/plan"
)

// The kinds of objects.
const (
	kindFile    = "file"
	kindSymlink = "symlink"
	kindDir     = "dir"
	// kindOther is a device, socket or pipe that somebody put there.
	kindOther = "other"
)

// entry is one object under the root, desired or observed.
type entry struct {
	Kind string
	Mode fs.FileMode // permission bits; 0 for symbolic links
	// Owner is who it must belong to; nil where that does not matter.
	Owner *owner
	Size  int64
	Sum   [sha256.Size]byte // of a file's content
	Link  string            // a symbolic link's target
	// From is the path in the repository, "" when observed.
	From      string
	Template  bool
	Sensitive bool // shown masked
	// Unknown tells that a value the content needs is known only later.
	Unknown bool
	// Stamp is what was observed, to notice a change before it is overwritten.
	Stamp stamp
}

type owner struct{ uid, gid int }

// stamp tells one state of a file from another without reading it.
type stamp struct {
	inode  uint64
	size   int64
	mode   fs.FileMode
	change time.Time
	uid    int
	gid    int
}

// hash stands for everything about the entry that a target decides. It is
// keyed where there is a key, because any file may hold a secret.
func (e *entry) hash(addr plan.Address, key []byte) string {
	h := sha256.New()
	if len(key) > 0 {
		h = hmac.New(sha256.New, key)
	}
	fmt.Fprintf(h, "%q %s %o %d %x %q", addr, e.Kind, e.Mode, e.Size, e.Sum, e.Link)
	if e.Owner != nil {
		fmt.Fprintf(h, " %d:%d", e.Owner.uid, e.Owner.gid)
	}
	if e.Unknown {
		fmt.Fprint(h, " unknown")
	}
	return hex.EncodeToString(h.Sum(nil))
}
