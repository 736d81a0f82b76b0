package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Of a large file that is there already only the blocks travel that differ.
// The host sums its blocks up with coreutils, in one pass; meanwhile the same
// is done here. The new file is made of a copy of the old one and the blocks
// that came, and compared as a whole before it takes the old one's place.

const (
	minBlocks     = 4 << 20 // smaller files travel whole
	smallestBlock = 256 << 10
	largestBlock  = 4 << 20
	mostBlocks    = 512 // of a file, about
)

// blockSize grows with the file, so that a host starts a bounded number of processes.
func blockSize(size int64) int64 {
	b := int64(smallestBlock)
	for b < largestBlock && size/b > mostBlocks {
		b *= 2
	}
	return b
}

// blockScript prints one sum a block. Busybox's split has no filters.
func blockScript(name string, block int64, blocks int64) string {
	return fmt.Sprintf(`f=%s
c=cksum
$c </dev/null >/dev/null 2>&1 || c=sha256sum
echo $c
if split --help 2>&1 | { while read -r l; do case $l in *--filter*) exit 0 ;; esac; done; exit 1; }; then
split -b %d --filter="exec $c" -- "$f" /nothing/
else
i=0
while [ $i -lt %d ]; do dd if="$f" bs=%[2]d skip=$i count=1 2>/dev/null | $c; i=$((i+1)); done
fi
`, quote(name), block, blocks)
}

// delta is which blocks of a file have to travel.
type delta struct {
	block  int64
	size   int64
	ours   string // the sums, to be remembered
	send   []bool
	amount int64
}

// blocksOf finds out which blocks differ, nil if the file had better travel whole.
func (s *set) blocksOf(ctx context.Context, h *host, st step) (*delta, error) {
	state, old := stateOf(st.New), stateOf(st.Old)
	if old == nil || old.Type != kindFile || old.fact == nil || old.Size < minBlocks || state.Size < minBlocks {
		return nil, nil
	}
	d := &delta{block: blockSize(max(state.Size, old.Size)), size: state.Size}
	if k := seenFiles.get(h.key(st)); k.sum == old.fact.Sum && k.sum != "" {
		// What the host has was brought from here, and nobody touched it since.
		if theirs := blocksFrom(k.blocks, d.block); theirs != nil {
			ours, err := state.blockSums(ctx, d.block, cksum)
			if err != nil {
				return nil, err
			}
			return d.compare(ours, theirs, true), nil
		}
	}
	var ours []uint32
	done := make(chan error, 1)
	go func() {
		var err error
		ours, err = state.blockSums(ctx, d.block, cksum)
		done <- err
	}()
	sc := newScript()
	sc.WriteString(blockScript(string(st.Change.Address), d.block, (old.Size+d.block-1)/d.block))
	out, err := runScript(ctx, h.t, sc, false, maxAnswer)
	if err := <-done; err != nil {
		return nil, err
	}
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return nil, nil // it can't be read this way: the file travels whole
	case err != nil:
		return nil, err
	}
	theirs, ok := parseBlocks(out, sc.nonce)
	if !ok {
		return nil, nil
	}
	quick := bytes.HasPrefix(out, []byte("cksum\n"))
	if !quick { // busybox
		if ours, err = state.blockSums(ctx, d.block, shaStart); err != nil {
			return nil, err
		}
	}
	return d.compare(ours, theirs, quick), nil
}

// shaStart is the beginning of a block's SHA-256.
func shaStart(p []byte) uint32 {
	s := sha256.Sum256(p)
	return binary.BigEndian.Uint32(s[:])
}

// blockCounter sums up what is written to it, block by block.
type blockCounter struct {
	block int64
	buf   []byte
	sums  []uint32
}

// Write takes the next piece.
func (c *blockCounter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(int64(len(p)), c.block-int64(len(c.buf)))
		c.buf = append(c.buf, p[:take]...)
		p = p[take:]
		if int64(len(c.buf)) == c.block {
			c.sums, c.buf = append(c.sums, cksum(c.buf)), c.buf[:0]
		}
	}
	return n, nil
}

func (c *blockCounter) text() string {
	if len(c.buf) > 0 {
		c.sums, c.buf = append(c.sums, cksum(c.buf)), nil
	}
	return blocksText(c.sums, c.block)
}

// blocksText gives sums as they are remembered, blocksFrom reads them.
func blocksText(sums []uint32, block int64) string {
	b := make([]byte, 0, 4*len(sums))
	for _, s := range sums {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return strconv.FormatInt(block, 10) + ":" + base64.StdEncoding.EncodeToString(b)
}

func blocksFrom(text string, block int64) []uint32 {
	size, rest, _ := strings.Cut(text, ":")
	b, err := base64.StdEncoding.DecodeString(rest)
	if size != strconv.FormatInt(block, 10) || err != nil || len(b)%4 != 0 || len(b) == 0 {
		return nil
	}
	var sums []uint32
	for ; len(b) > 0; b = b[4:] {
		sums = append(sums, binary.BigEndian.Uint32(b))
	}
	return sums
}

// parseBlocks gives the sums, false if it is no whole answer.
func parseBlocks(out []byte, nonce string) ([]uint32, bool) {
	text, ok := bytes.CutSuffix(out, []byte(nonce+" end\n"))
	if !ok {
		return nil, false
	}
	var all []uint32
	head, rest, _ := strings.Cut(string(text), "\n")
	if head != "cksum" && head != "sha256sum" {
		return nil, false
	}
	for line := range strings.Lines(rest) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		base := 10
		if head == "sha256sum" {
			word, base = word[:min(8, len(word))], 16
		}
		n, err := strconv.ParseUint(word, base, 32)
		if err != nil {
			return nil, false
		}
		all = append(all, uint32(n))
	}
	return all, true
}

// compare finds what differs. It gives nil if that is so much that the file
// had better travel whole. Sums of cksum are remembered.
func (d *delta) compare(ours, theirs []uint32, quick bool) *delta {
	if quick {
		d.ours = blocksText(ours, d.block)
	}
	d.send = make([]bool, len(ours))
	for i, sum := range ours {
		if i >= len(theirs) || theirs[i] != sum {
			d.send[i] = true
			d.amount += min(d.block, d.size-int64(i)*d.block)
		}
	}
	if d.amount > d.size/2 {
		return nil
	}
	return d
}

// blockSums sums a desired file up by blocks.
func (s *pathState) blockSums(ctx context.Context, block int64, sum func([]byte) uint32) ([]uint32, error) {
	f, err := s.src.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sums []uint32
	buf := make([]byte, block)
	for ctx.Err() == nil {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			sums = append(sums, sum(buf[:n]))
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

// reader gives the blocks that travel, one after the other.
func (d *delta) reader(s *pathState) (io.ReadCloser, error) {
	f, err := s.src.open()
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer f.Close()
		w.CloseWithError(d.copy(w, f))
	}()
	return r, nil
}

func (d *delta) copy(w io.Writer, f io.Reader) error {
	seeker, seeks := f.(io.Seeker)
	buf := make([]byte, d.block)
	for i := range d.send {
		if !d.send[i] && seeks {
			if _, err := seeker.Seek(d.block, io.SeekCurrent); err != nil {
				return err
			}
			continue
		}
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if !d.send[i] {
			continue
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// receive gives the commands that make the new file NAME of the old one and
// of the blocks that come as input.
func (d *delta) receive(name, old string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{ cp --reflink=auto -- %[1]s %[2]s 2>/dev/null || cp -- %[1]s %[2]s; } && chmod 600 %[2]s && truncate -s %[3]d -- %[2]s", quote(old), quote(name), d.size)
	for i := 0; i < len(d.send); {
		if !d.send[i] {
			i++
			continue
		}
		n := i + 1
		for n < len(d.send) && d.send[n] {
			n++
		}
		fmt.Fprintf(&b, " && dd of=%s bs=%d seek=%d count=%d conv=notrunc iflag=fullblock 2>/dev/null", quote(name), d.block, i, n-i)
		i = n
	}
	return b.String()
}
