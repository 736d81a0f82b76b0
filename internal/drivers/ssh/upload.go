package ssh

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// upload writes a large file. Its content is streamed, and held nowhere.
func (s *set) upload(ctx context.Context, h *host, st step) error {
	d, err := s.blocksOf(ctx, h, st)
	if err != nil {
		return fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
	}
	if d != nil {
		return s.patch(ctx, &writer{script: newScript(), host: h, ids: map[plan.Key]int{st.Change.Key: 0}}, st, d)
	}
	return s.whole(ctx, h, st)
}

// whole streams all of it.
func (s *set) whole(ctx context.Context, h *host, st step) error {
	state, old := stateOf(st.New), stateOf(st.Old)
	f, err := state.src.open()
	if err != nil {
		return err
	}
	defer f.Close()
	w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{st.Change.Key: 0}}
	blocks := &blockCounter{block: blockSize(state.Size)}
	sum := &summed{from: io.TeeReader(f, blocks), h: sha256.New(), want: state.SHA256, name: state.src.file}
	body := io.Reader(sum)
	receive := "cat"
	if s.compresses(h) {
		var shrinks bool
		if body, shrinks, err = worthIt(sum); err != nil {
			return err
		}
		if shrinks {
			body, receive = compressed(body), "gzip -dc"
		}
	}
	w.upload(st, state, old, receive+" >"+quote(nameIn(st)))
	out := bounded{most: maxAnswer}
	err = h.t.run(ctx, w.command(), body, &out)
	h.stamped(out.Bytes(), w.nonce, st, state, blocks.text())
	result := outcomes(out.Bytes(), w.nonce, 1, err)[0]
	if sum.err != nil && result != nil {
		return fmt.Errorf("%w: %w", sum.err, result)
	}
	return result
}

// upload writes the script: prepare aside, compare the sum, check what is
// there, move.
func (w *writer) upload(st step, s, old *pathState, receive string) {
	dir, base := splitPath(string(st.Change.Address))
	name := "./" + base
	if old != nil && old.Type != s.Type {
		old = nil
	}
	// OpenSSL uses what the processor has for SHA-256; coreutils' own does not.
	prep := []string{`{ v=$(openssl dgst -sha256 -r <` + quote(name) + ` 2>/dev/null) || v=$(sha256sum <` + quote(name) + `)
[ "${v%% *}" = ` + s.SHA256 + ` ] || { echo "the content did not arrive whole"; false; }; }`,
		owner(s, old, "", name), "chmod " + s.Mode + " " + quote(name), "sy " + quote(name), w.host.checkBig("../"+base, st)}
	if was := stateOf(st.Old); was != nil && was.Type == kindDir {
		prep = append(prep, "rmdir -- "+quote("../"+base))
	}
	body := fmt.Sprintf("stage || { no 0; exit; }\nif %s; then unit 0 %s %s; else no 0; fi\n%s", receive, quote(all(prep)), quote(name), stampAfter("../"+base, s))
	fmt.Fprintf(w, "receive %s %s\n", quote(dir), quote(body))
}

// nameIn is what a file is called where it is prepared.
func nameIn(st step) string {
	_, base := splitPath(string(st.Change.Address))
	return "./" + base
}

// patch sends the blocks that differ.
func (s *set) patch(ctx context.Context, w *writer, st step, d *delta) error {
	h, state := w.host, stateOf(st.New)
	blocks, err := d.reader(state)
	if err != nil {
		return fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
	}
	defer blocks.Close()
	_, base := splitPath(string(st.Change.Address))
	w.upload(st, state, stateOf(st.Old), d.receive(nameIn(st), "../"+base))
	out := bounded{most: maxAnswer}
	err = h.t.run(ctx, w.command(), blocks, &out)
	h.stamped(out.Bytes(), w.nonce, st, state, d.ours)
	result := outcomes(out.Bytes(), w.nonce, 1, err)[0]
	if result != nil && strings.Contains(result.Error(), "did not arrive whole") {
		// Two blocks had the same sum: the whole file travels.
		return s.whole(ctx, h, st)
	}
	return result
}

// command gives the script as one text for sh -c: its input is the content.
func (w *writer) command() string {
	return fmt.Sprintf("N=%s\nLIB=%s\neval \"$LIB\"\n%s\necho \"$N end\"\n", w.nonce, quote(lib), w.String())
}

// summed makes sure that what is sent is what was planned.
type summed struct {
	from io.Reader
	h    hash.Hash
	want string
	name string
	err  error
}

// Read gives the next piece. A content that turns out to be another one is an
// error before its end.
func (s *summed) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.h.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(s.h.Sum(nil)) != s.want {
		s.err = fmt.Errorf("%s reads differently than it was planned: %w", s.name, driver.ErrStale)
		return n, s.err
	}
	return n, err
}

// worthIt looks at the beginning of a content, and tells whether it shrinks
// when it is compressed.
func worthIt(from io.Reader) (io.Reader, bool, error) {
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(from, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	head = head[:n]
	var small bytes.Buffer
	z, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		return nil, false, err
	}
	if _, err := z.Write(head); err != nil {
		return nil, false, err
	}
	if err := z.Close(); err != nil {
		return nil, false, err
	}
	return io.MultiReader(bytes.NewReader(head), from), small.Len() < n*8/10, nil
}
