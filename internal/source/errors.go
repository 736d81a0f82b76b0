package source

import (
	"errors"
	"fmt"
	"path"
)

// What can go wrong, for callers to tell apart with errors.Is.
var (
	ErrUnreachable = errors.New("the Git server can't be reached")
	ErrAuth        = errors.New("the Git server refused the credentials")
	ErrHostKey     = errors.New("the ssh server's host key is not the known one")
	ErrRewound     = errors.New("history was rewritten")
	ErrCorrupt     = errors.New("the mirror is damaged")
	ErrNoRef       = errors.New("no such branch, tag or commit")
	ErrNotFetched  = errors.New("never fetched")
	ErrUnsigned    = errors.New("not signed by a listed key")
	ErrOutside     = errors.New("outside the target's inputs")
	ErrUnsafe      = errors.New("unsafe path")
	ErrTooLarge    = errors.New("too large")
	ErrSubmodule   = errors.New("the submodule is not available")
	ErrLFS         = errors.New("the Git LFS object is not available")
)

// OutsideError says that something outside path and inputs was to be read,
// and which line would allow it.
type OutsideError struct {
	Path string
	Dir  bool
}

// Line is the line to add to the target.
func (e *OutsideError) Line() string {
	p := e.Path
	if e.Dir {
		p = path.Join(p, "**")
	}
	return fmt.Sprintf("inputs: [%s]", p)
}

// Error names the path and the line to add.
func (e *OutsideError) Error() string {
	return fmt.Sprintf("%s is outside the target's path and inputs; to read it, add `%s` to the target", e.Path, e.Line())
}

// Unwrap gives ErrOutside.
func (e *OutsideError) Unwrap() error { return ErrOutside }

// UnsafeError says that a path in the repository can't be used safely.
type UnsafeError struct {
	Path   string
	Reason string
}

// Error names the path, quoted, and the reason.
func (e *UnsafeError) Error() string { return fmt.Sprintf("%q: %s", e.Path, e.Reason) }

// Why gives the reason.
func (e *UnsafeError) Why() string { return e.Reason }

// Unwrap gives ErrUnsafe.
func (e *UnsafeError) Unwrap() error { return ErrUnsafe }
