package driver

import "errors"

// Errors that say what to do next. Drivers wrap them with %w.
var (
	// ErrStale: the environment changed since the plan; plan again.
	ErrStale = errors.New("the environment changed since the plan was made")
	// ErrUnreachable: the environment could not be reached; try again later.
	ErrUnreachable = errors.New("unreachable")
	// ErrNotReady: not healthy yet; ask again.
	ErrNotReady = errors.New("not ready")
)

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks an error that trying again can't mend: only a new commit, a
// new configuration or a person can.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent tells whether Permanent stands anywhere in the chain.
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}
