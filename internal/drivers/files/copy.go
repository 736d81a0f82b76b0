package files

import (
	"io"
	"sync"
)

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copyAll is io.Copy with a buffer that is used again: a plan reads every
// file, and most are small.
func copyAll(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
}
