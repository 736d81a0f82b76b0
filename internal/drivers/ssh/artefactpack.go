package ssh

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Bounds of an archive.
const (
	maxEntries  = 200_000
	maxUnpacked = 8 << 30
)

// single makes the sums of an artefact that is one file.
func (p *pack) single(st *artefactState, f *os.File) error {
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	p.size, p.sums = n, hex.EncodeToString(h.Sum(nil))+"  "+st.want.Name+"\n"
	return nil
}

// packer writes the archive anew: files, directories and links that stay
// inside, nothing else, with plain owners and modes.
type packer struct {
	out     *tar.Writer
	sums    strings.Builder
	strip   int
	entries int
	total   int64
	links   map[string]bool
	seen    map[string]bool
}

func (p *pack) repack(st *artefactState, raw, out *os.File) error {
	buf := bufio.NewWriterSize(out, 1<<20)
	k := &packer{out: tar.NewWriter(buf), strip: st.want.Strip, links: map[string]bool{}, seen: map[string]bool{}}
	var err error
	if st.kind == "zip" {
		err = k.fromZip(raw)
	} else {
		err = k.fromTar(raw)
	}
	if err == nil && k.sums.Len() == 0 {
		err = errors.New("the archive holds no file")
	}
	if err == nil {
		err = k.out.Close()
	}
	if err == nil {
		err = buf.Flush()
	}
	p.sums = k.sums.String()
	return err
}

func (k *packer) fromTar(raw *os.File) error {
	var in io.Reader = bufio.NewReaderSize(raw, 1<<20)
	head, err := in.(*bufio.Reader).Peek(2)
	if err == nil && bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		defer z.Close()
		in = z
	}
	t := tar.NewReader(in)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("this is no whole tar archive: %w", err)
		}
		mode := fs.FileMode(h.Mode) & 0o777
		switch h.Typeflag {
		case tar.TypeReg:
			err = k.file(h.Name, mode, h.Size, t)
		case tar.TypeDir:
			err = k.dir(h.Name)
		case tar.TypeSymlink:
			err = k.link(h.Name, h.Linkname)
		case tar.TypeXGlobalHeader:
		default:
			err = fmt.Errorf("%q is neither a file, a directory nor a symbolic link", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

func (k *packer) fromZip(raw *os.File) error {
	info, err := raw.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(raw, info.Size())
	if err != nil {
		return fmt.Errorf("this is no whole zip archive: %w", err)
	}
	for _, f := range z.File {
		if err := k.zipped(f); err != nil {
			return err
		}
	}
	return nil
}

func (k *packer) zipped(f *zip.File) error {
	if f.FileInfo().IsDir() {
		return k.dir(f.Name)
	}
	if t := f.Mode().Type(); t != 0 && t != fs.ModeSymlink {
		return fmt.Errorf("%q is neither a file, a directory nor a symbolic link", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if f.Mode().Type() == fs.ModeSymlink {
		to, err := io.ReadAll(io.LimitReader(r, maxPath))
		if err != nil {
			return err
		}
		return k.link(f.Name, string(to))
	}
	return k.file(f.Name, f.Mode().Perm(), int64(min(f.UncompressedSize64, maxUnpacked+1)), r)
}

// place gives where an entry goes, "" for nowhere, and refuses what would
// leave the release.
func (k *packer) place(name string) (string, error) {
	if k.entries++; k.entries > maxEntries {
		return "", fmt.Errorf("the archive has more than %d entries", maxEntries)
	}
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(name, "\x00\n\\") || len(name) > maxPath {
		return "", fmt.Errorf("the name %q is not allowed", clip(name))
	}
	parts := strings.Split(clean, "/")
	if clean == "." || len(parts) <= k.strip {
		return "", nil
	}
	clean = strings.Join(parts[k.strip:], "/")
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if k.links[dir] {
			return "", fmt.Errorf("%q lies behind a symbolic link", clip(name))
		}
	}
	return clean, nil
}

func (k *packer) file(name string, mode fs.FileMode, size int64, from io.Reader) error {
	to, err := k.place(name)
	if err != nil || to == "" {
		return err
	}
	if k.links[to] || k.seen[to] {
		return fmt.Errorf("%q is in the archive twice", clip(name))
	}
	k.seen[to] = true
	if k.total += size; size < 0 || k.total > maxUnpacked {
		return fmt.Errorf("the archive unpacks to more than %d bytes", int64(maxUnpacked))
	}
	perm := int64(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	if err := k.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./" + to, Size: size, Mode: perm}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(k.out, h), from, size); err != nil {
		return fmt.Errorf("%q is cut short: %w", clip(name), err)
	}
	fmt.Fprintf(&k.sums, "%s  ./%s\n", hex.EncodeToString(h.Sum(nil)), to)
	return nil
}

func (k *packer) dir(name string) error {
	to, err := k.place(name)
	if err != nil || to == "" || k.links[to] {
		return err
	}
	return k.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./" + to + "/", Mode: 0o755})
}

func (k *packer) link(name, target string) error {
	to, err := k.place(name)
	if err != nil || to == "" {
		return err
	}
	leads := path.Join(path.Dir(to), target)
	if path.IsAbs(target) || leads == ".." || strings.HasPrefix(leads, "../") || strings.ContainsAny(target, "\x00\n") || k.seen[to] {
		return fmt.Errorf("the link %q leads out of the archive, to %q", clip(name), clip(target))
	}
	k.links[to], k.seen[to] = true, true
	return k.out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "./" + to, Linkname: target})
}
