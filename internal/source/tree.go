package source

import (
	"context"
	"strings"
	"unicode/utf8"
)

// Mode is the kind of an entry, as in a Git tree.
type Mode uint32

// The modes. A Git tree knows no others.
const (
	ModeFile    Mode = 0o100644
	ModeExec    Mode = 0o100755
	ModeSymlink Mode = 0o120000
	ModeDir     Mode = 0o040000
	ModeGitlink Mode = 0o160000 // a submodule that is not read
)

// Entry is one name in a tree.
type Entry struct {
	Path string `json:"path"` // from the root of the repository
	Mode Mode   `json:"mode"`
	ID   string `json:"id"` // object id of the blob or tree
}

// IsDir tells whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode == ModeDir }

// Tree is one revision's files, unconfined. Paths are slash-separated from
// the root, which is ".". Symbolic links are entries like any other.
type Tree interface {
	// Lookup gives the entry of a path; false when there is none.
	Lookup(ctx context.Context, name string) (Entry, bool, error)
	// List gives the entries of a directory in the order of their names. Their
	// IDs may be empty where they are costly: ask ID.
	List(ctx context.Context, dir string) ([]Entry, error)
	// ID gives the object id of an entry.
	ID(ctx context.Context, e Entry) (string, error)
	// Blob gives the content of a file or the target of a symbolic link. At
	// most limit bytes: more is ErrTooLarge.
	Blob(ctx context.Context, e Entry, limit int64) ([]byte, error)
	// Prefetch brings the blobs of the entries near, all at once.
	Prefetch(ctx context.Context, entries []Entry) error
}

// CheckName says what makes a name in a tree unsafe on any file system that
// it may be written to, "" if nothing.
func CheckName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "is not a name"
	case strings.ContainsAny(name, "/\\"):
		return "a name can't hold a slash or backslash"
	case !utf8.ValidString(name):
		return "a name must be valid UTF-8"
	case len(name) > 255:
		return "a name can't be longer than 255 bytes"
	case isDotGit(name):
		return ".git can't be part of a tree"
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 {
			return "a name can't hold control characters"
		}
	}
	return ""
}

// isDotGit knows the spellings that some file system takes for .git: case,
// trailing dots and spaces, NTFS short names and streams, and the characters
// that HFS+ ignores.
func isDotGit(name string) bool {
	n := strings.Map(func(r rune) rune {
		if (r >= 0x200b && r <= 0x200f) || (r >= 0x202a && r <= 0x202e) || (r >= 0x206a && r <= 0x206f) || r == 0xfeff {
			return -1
		}
		return r
	}, strings.ToLower(name))
	if i := strings.IndexByte(n, ':'); i >= 0 {
		n = n[:i]
	}
	n = strings.TrimRight(n, ". ")
	return n == ".git" || n == "git~1"
}

// CheckNames gives for every unsafe name of a directory the reason: names
// that CheckName refuses, and names that only differ by case.
func CheckNames(names []string) map[string]string {
	var bad map[string]string
	mark := func(name, reason string) {
		if bad == nil {
			bad = map[string]string{}
		}
		bad[name] = reason
	}
	folded := make(map[string]string, len(names))
	for _, n := range names {
		if reason := CheckName(n); reason != "" {
			mark(n, reason)
			continue
		}
		f := strings.ToLower(n)
		if other, ok := folded[f]; ok {
			mark(n, "differs from "+other+" only by case")
			mark(other, "differs from "+n+" only by case")
		}
		folded[f] = n
	}
	return bad
}

func join(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return dir + "/" + name
}
