package sftp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pkg/sftp"

	"trueup.dev/trueup/internal/plan"
)

// The kinds of objects.
const (
	kindFile    = "file"
	kindSymlink = "symlink"
	kindDir     = "dir"
	kindOther   = "other"
)

// entry is one object below the root, desired or observed.
type entry struct {
	Kind  string
	Mode  fs.FileMode // permission bits; 0 for links and where modes are ignored
	Owner string      // "uid:gid"; "" where it does not matter
	Size  int64
	Sum   [sha256.Size]byte
	Link  string
	From  string // in the repository; "" when observed
	// Sensitive is shown masked.
	Sensitive bool
	// Stamp is what the server said of it.
	Stamp stamp
	// known is the hash that stands for the entry where it was not read.
	known string
}

// stamp tells one state of a file from another as far as the protocol can.
type stamp struct {
	size     int64
	mtime    int64 // seconds
	mode     fs.FileMode
	uid, gid uint32
}

func stampOf(info os.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime().Unix(), mode: info.Mode()}
	if st, ok := info.Sys().(*sftp.FileStat); ok {
		s.uid, s.gid = st.UID, st.GID
	}
	return s
}

// record stands for a stamp in the inventory. It gives nothing away.
func (s stamp) record(key []byte, addr plan.Address) string {
	return keyed(key, "%q %d %d %o %d:%d", addr, s.size, s.mtime, uint32(s.mode), s.uid, s.gid)
}

// hash stands for everything about the entry that a target decides.
func (e *entry) hash(addr plan.Address, key []byte) string {
	if e.known != "" {
		return e.known
	}
	return keyed(key, "%q %s %o %d %x %q %q", addr, e.Kind, e.Mode, e.Size, e.Sum, e.Link, e.Owner)
}

func keyed(key []byte, format string, args ...any) string {
	h := sha256.New()
	if len(key) > 0 {
		h = hmac.New(sha256.New, key)
	}
	fmt.Fprintf(h, format, args...)
	return hex.EncodeToString(h.Sum(nil))
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return kindFile
	case m.IsDir():
		return kindDir
	case m&fs.ModeSymlink != 0:
		return kindSymlink
	}
	return kindOther
}

// tempPrefix begins the name of every file that is being written.
const tempPrefix = ".trueup-"

// leftoverAge is how old an unfinished file must be before it is removed. The
// protocol has no locks: this is longer than any file is being written.
const leftoverAge = 12 * time.Hour
