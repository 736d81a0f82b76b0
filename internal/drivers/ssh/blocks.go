package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"golang.org/x/crypto/blake2b"

	"trueup.dev/trueup/internal/driver"
)

// Of a large file that is there already only the blocks travel that differ.
// The host sums its blocks up with coreutils, in one pass; meanwhile the same
// is done here. The new file is made of a copy of the old one and the blocks
// that came, and compared as a whole before it takes the old one's place.

const (
	minBlocks     = 4 << 20 // smaller files travel whole
	smallestBlock = 256 << 10
	largestBlock  = 4 << 20
	mostPairs     = 512 // blocks of a file, about
)

// blockSize grows with the file, so that a host starts a bounded number of processes.
func blockSize(size int64) int64 {
	b := int64(smallestBlock)
	for b < largestBlock && size/b > mostPairs {
		b *= 2
	}
	return b
}

// blockScript prints the name of the sum and one sum a block. b2sum is several
// times as fast as sha256sum; busybox has neither it nor split's filters.
func blockScript(name string, block int64, blocks int64) string {
	return fmt.Sprintf(`f=%s
if b2sum -l 256 </dev/null >/dev/null 2>&1; then echo b2; c='b2sum -l 256'; else echo sha256; c=sha256sum; fi
if split --help 2>&1 | { while read -r l; do case $l in *--filter*) exit 0 ;; esac; done; exit 1; }; then
split -b %d --filter="exec $c" -- "$f" /nothing/
else
i=0
while [ $i -lt %d ]; do dd if="$f" bs=%[2]d skip=$i count=1 2>/dev/null | $c; i=$((i+1)); done
fi
`, quote(name), block, blocks)
}

func sumB2(b []byte) [32]byte { return blake2b.Sum256(b) }

// delta is which blocks of a file have to travel.
type delta struct {
	block  int64
	size   int64
	sums   []string // of all blocks of the new file
	whole  string   // b2sum's sum of the new file, "" if the host has no b2sum
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
	type ours struct {
		sums  []string
		whole string
		err   error
	}
	done := make(chan ours, 1)
	go func() {
		var o ours
		o.sums, o.whole, o.err = state.blockSums(ctx, d.block, sumB2)
		done <- o
	}()
	sc := newScript()
	sc.WriteString(blockScript(string(st.Change.Address), d.block, (old.Size+d.block-1)/d.block))
	out, err := runScript(ctx, h.t, sc, false, maxAnswer)
	o := <-done
	var exit *exitError
	switch {
	case o.err != nil:
		return nil, o.err
	case errors.As(err, &exit):
		return nil, nil // it can't be read this way: the file travels whole
	case err != nil:
		return nil, err
	}
	theirs := parseBlocks(out, sc.nonce)
	if theirs == nil {
		return nil, nil
	}
	d.sums, d.whole = o.sums, o.whole
	if theirs[0] != "b2" { // busybox
		d.whole = ""
		if d.sums, _, err = state.blockSums(ctx, d.block, sha256.Sum256); err != nil {
			return nil, err
		}
	}
	d.compare(theirs[1:])
	if d.amount > d.size/2 {
		return nil, nil
	}
	return d, nil
}

// parseBlocks gives the sum's name and the sums, nil if it is no whole answer.
func parseBlocks(out []byte, nonce string) []string {
	text, ok := bytes.CutSuffix(out, []byte(nonce+" end\n"))
	if !ok {
		return nil
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, word)
	}
	if len(all) < 1 || all[0] != "b2" && all[0] != "sha256" {
		return nil
	}
	for _, s := range all[1:] {
		if !digestPattern.MatchString(s) {
			return nil
		}
	}
	return all
}

func (d *delta) compare(theirs []string) {
	d.send = make([]bool, len(d.sums))
	for i, sum := range d.sums {
		if i >= len(theirs) || theirs[i] != sum {
			d.send[i] = true
			d.amount += min(d.block, d.size-int64(i)*d.block)
		}
	}
}

// blockSums sums a desired file up by blocks, and makes sure that it still is
// what was planned.
func (s *pathState) blockSums(ctx context.Context, block int64, sum func([]byte) [32]byte) (sums []string, whole string, err error) {
	f, err := s.src.open()
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	all := sha256.New()
	wide, err := blake2b.New512(nil)
	if err != nil {
		return nil, "", err
	}
	buf := make([]byte, block)
	feed := [2]chan []byte{make(chan []byte), make(chan []byte)}
	done := make(chan struct{}, 2)
	for i, h := range []hash.Hash{all, wide} {
		go func() {
			for b := range feed[i] {
				h.Write(b)
				done <- struct{}{}
			}
		}()
	}
	defer close(feed[0])
	defer close(feed[1])
	for ctx.Err() == nil {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			feed[0] <- buf[:n]
			feed[1] <- buf[:n]
			b := sum(buf[:n])
			sums = append(sums, hex.EncodeToString(b[:]))
			<-done
			<-done
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, "", err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if hex.EncodeToString(all.Sum(nil)) != s.SHA256 {
		return nil, "", fmt.Errorf("%s reads differently than it was planned: %w", s.src.file, driver.ErrStale)
	}
	return sums, hex.EncodeToString(wide.Sum(nil)), nil
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
		buf := make([]byte, d.block)
		for i := range d.send {
			n, err := io.ReadFull(f, buf)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				w.CloseWithError(err)
				return
			}
			if !d.send[i] {
				continue
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	return r, nil
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
