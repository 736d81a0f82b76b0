package source

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// pointerPrefix begins every Git LFS pointer (git-lfs docs/spec.md).
const pointerPrefix = "version https://git-lfs.github.com/spec/v1\n"

// maxPointer is the size that the specification sets for a pointer.
const maxPointer = 1024

var pointerLine = regexp.MustCompile(`(?s)\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n`)

type pointer struct {
	oid  string
	size int64
}

// parsePointer tells whether a file is a Git LFS pointer and what it names.
func parsePointer(b []byte) (pointer, bool) {
	if len(b) > maxPointer || !bytes.HasPrefix(b, []byte(pointerPrefix)) {
		return pointer{}, false
	}
	m := pointerLine.FindSubmatch(b)
	if m == nil {
		return pointer{}, false
	}
	size, err := strconv.ParseInt(string(m[2]), 10, 64)
	return pointer{oid: string(m[1]), size: size}, err == nil
}

// large replaces a pointer by the file that it stands for.
func (s *Snapshot) large(ctx context.Context, name string, b []byte) ([]byte, error) {
	ptr, ok := parsePointer(b)
	switch {
	case !ok:
		return b, nil
	case s.lfs == nil:
		return nil, fmt.Errorf("%s is a Git LFS pointer and LFS is not enabled for this repository: %w", name, ErrLFS)
	case ptr.size > s.limits.Blob:
		return nil, fmt.Errorf("%s: %d bytes, the limit is %d: %w", name, ptr.size, s.limits.Blob, ErrTooLarge)
	}
	return s.lfs.Object(ctx, ptr.oid, ptr.size)
}
