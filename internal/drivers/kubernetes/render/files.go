package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"trueup.dev/trueup/internal/plan"
)

// Limits of one rendering.
const (
	maxFiles = 20_000
	maxFile  = 16 << 20
	maxBytes = 128 << 20
	// maxHere bounds what is read without a process for it.
	maxHere    = 4 << 20
	maxObjects = 50_000
)

// files reads the snapshot within limits.
type files struct {
	ctx     context.Context
	tree    fs.FS
	decrypt func(ctx context.Context, name string, data []byte) ([]byte, error)
	count   int
	bytes   int64
	here    int64 // what may be read in this process; 0 is any number
	secrets *secrets
	sealed  map[string]bool   // files that stay encrypted
	shown   map[string][]byte // decrypted files as they lie in Git
	notes   map[string]bool   // what makes the rendering incomplete
}

func newFiles(ctx context.Context, in Input) *files {
	return &files{ctx: ctx, tree: in.Tree, decrypt: in.Decrypt, secrets: newSecrets(), sealed: map[string]bool{}, shown: map[string][]byte{}, notes: map[string]bool{}}
}

// errElsewhere tells that there is too much to be read in this process.
var errElsewhere = errors.New("too much to be rendered in this process")

// tooMuch is a limit that the repository's content exceeds.
type tooMuch string

// Error says which.
func (e tooMuch) Error() string { return string(e) }

// read reads a file as it stands.
func (f *files) read(name string) ([]byte, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, err
	}
	if f.count++; f.count > maxFiles {
		return nil, tooMuch(fmt.Sprintf("more than %d files are read", maxFiles))
	}
	b, err := f.whole(name)
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, tooMuch(fmt.Sprintf("%s has more than %d bytes", name, maxFile))
	}
	if f.bytes += int64(len(b)); f.here > 0 && f.bytes > f.here {
		return nil, errElsewhere
	}
	if f.bytes > maxBytes {
		return nil, tooMuch(fmt.Sprintf("more than %d bytes are read", maxBytes))
	}
	return b, nil
}

// whole reads a file, or a little more of it than is allowed.
func (f *files) whole(name string) ([]byte, error) {
	if r, ok := f.tree.(fs.ReadFileFS); ok {
		return r.ReadFile(name)
	}
	h, err := f.tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return io.ReadAll(io.LimitReader(h, maxFile+1))
}

// exists tells whether there is a file or directory of this name, and which.
func (f *files) exists(name string) (dir, ok bool, err error) {
	info, err := fs.Stat(f.tree, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	}
	return info.IsDir(), true, nil
}

// outside is an error about a path that the target may not read; Line is what
// would allow it.
type outside interface {
	error
	Line() string
}

// unusable is an error about a path that nobody may use.
type unusable interface {
	error
	Why() string
}

// inRepository makes a diagnostic of an error that a commit can mend: a path
// that is not there or not among the inputs, a limit.
func inRepository(name string, err error) (plan.Diagnostic, bool) {
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: name}, Message: err.Error()}
	var (
		out  outside
		odd  unusable
		much tooMuch
		bad  *badFile
		p    *fs.PathError
	)
	if errors.As(err, &bad) {
		return bad.d, true
	}
	if errors.As(err, &p) && p.Path != "" {
		d.File = path.Clean(p.Path)
	}
	switch {
	case errors.As(err, &out):
		d.Message = out.Error()
	case errors.As(err, &odd):
		d.Message = odd.Error()
	case errors.Is(err, fs.ErrInvalid):
		d.Message = fmt.Sprintf("%q leads out of the repository", d.File)
	case errors.As(err, &much):
		d.Message, d.File = much.Error(), name
	case errors.Is(err, fs.ErrNotExist):
		d.Message, d.Mend = fmt.Sprintf("there is no %q", d.File), "name a file or directory of the repository"
	default:
		return d, false
	}
	return d, true
}
