package registry

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"trueup.dev/trueup/internal/driver"
)

// Limits of what is unpacked.
const (
	maxEntries  = 20_000
	maxUnpacked = 256 << 20
	maxDepth    = 64
)

// Unpack gives the files of a tar.gz as a file system in memory. An archive
// with links, devices, paths that lead out of it, two files of one name, or
// more than the limits is refused: nothing of it is used.
func Unpack(archive []byte) (fs.FS, error) {
	f, err := unpack(archive, maxEntries, maxUnpacked)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("%w: %w", ErrContent, err))
	}
	return f, nil
}

// unpack goes by way of an uncompressed zip, which the standard library reads
// as a file system.
func unpack(archive []byte, entries int, size int64) (fs.FS, error) {
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("it is no tar.gz: %w", err)
	}
	// All that the stream may hold, headers and padding included.
	all := &atMost{Reader: gz, left: size + int64(entries)*2048}
	in := tar.NewReader(all)
	var buf bytes.Buffer
	out := zip.NewWriter(&buf)
	kinds := map[string]byte{}
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the archive can't be read: %w", err)
		}
		if n >= entries {
			return nil, fmt.Errorf("it has more than %d entries", entries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := entry(out, in, h, kinds, &size); err != nil {
			return nil, err
		}
	}
	// To its end, where the sum is.
	if _, err := io.Copy(io.Discard, all); err != nil {
		return nil, fmt.Errorf("the archive can't be read: %w", err)
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
}

func entry(out *zip.Writer, in *tar.Reader, h *tar.Header, kinds map[string]byte, left *int64) error {
	name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	if h.Typeflag == tar.TypeDir && (name == "" || name == ".") {
		return nil
	}
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") || strings.Count(name, "/") >= maxDepth {
		return fmt.Errorf("the path %.200q leads out of the archive, or is no path", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if k := kinds[name]; k != 0 && k != 'd' {
			return fmt.Errorf("%.200q is a file and a directory", name)
		}
		return parents(kinds, name+"/")
	case tar.TypeReg:
	default:
		return fmt.Errorf("%.200q is a link or a device; only files and directories are taken", h.Name)
	}
	if kinds[name] != 0 {
		return fmt.Errorf("%.200q stands there twice", name)
	}
	if err := parents(kinds, name); err != nil {
		return err
	}
	kinds[name] = 'f'
	if *left -= h.Size; h.Size < 0 || *left < 0 {
		return errors.New("it is too large when it is unpacked")
	}
	w, err := out.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, in); err != nil {
		return fmt.Errorf("the archive can't be read: %w", err)
	}
	return nil
}

// parents notes the directories above a path.
func parents(kinds map[string]byte, name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		switch kinds[dir] {
		case 'd':
			return nil
		case 'f':
			return fmt.Errorf("%.200q is a file and a directory", dir)
		}
		kinds[dir] = 'd'
	}
	return nil
}

// atMost fails where a reader gives more than it should.
type atMost struct {
	io.Reader
	left int64
}

func (a *atMost) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errors.New("it is too large when it is unpacked")
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.Reader.Read(p)
	a.left -= int64(n)
	return n, err
}
