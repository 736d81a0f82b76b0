package ssh

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// writer makes the script that carries out a batch of steps on a host.
type writer struct {
	*script
	host *host
	ids  map[plan.Key]int
	// kinds tells that the shell functions of kinds.sh are in.
	kinds bool
	// touched are the directories that have to be synced in the end.
	touched []string
}

// id gives the number by which a step is told off.
func (w *writer) id(st step) int { return w.ids[st.Change.Key] }

// list gives the numbers of steps as one word.
func (w *writer) list(steps []step) string {
	out := make([]string, len(steps))
	for i, st := range steps {
		out[i] = strconv.Itoa(w.id(st))
	}
	return quote(strings.Join(out, " "))
}

// try runs commands for some steps, which succeed or fail with them. The
// commands are joined by && as they stand, so quote what is in them.
func (w *writer) try(steps []step, commands ...string) {
	fmt.Fprintf(w, "try %s %s\n", w.list(steps), quote(strings.Join(commands, " &&\n")))
}

// in runs a body in a directory as whoever may safely write there; body is
// shell text that tells the steps off.
func (w *writer) in(dir string, steps []step, body string) {
	fmt.Fprintf(w, "group %s %s %s\n", quote(dir), w.list(steps), quote(body))
}

// Write carries out one batch on one host.
func (s *set) Write(ctx context.Context, batch []step) []error {
	if batch[0].Change.Action == plan.Rename && len(batch) == 1 {
		return []error{s.rename(ctx, batch[0])}
	}
	h := s.hosts[batch[0].Change.Scope]
	if h == nil || h.answer == nil {
		return same(batch, fmt.Errorf("%w: the host was not read", setplan.ErrSkipped))
	}
	if err := s.mark(ctx, h); err != nil {
		return same(batch, err)
	}
	if len(batch) == 1 && batch[0].Change.Kind == kindReboot {
		return []error{s.restart(ctx, h, batch[0])}
	}
	if len(batch) == 1 && batch[0].Change.Kind == kindArtefact && batch[0].New != nil {
		return []error{s.bring(ctx, h, batch[0])}
	}
	if len(batch) == 1 && weight(batch[0]) > maxInline {
		return []error{s.upload(ctx, h, batch[0])}
	}
	w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{}}
	for i, st := range batch {
		w.ids[st.Change.Key] = i
	}
	for i := 0; i < len(batch); {
		k := kindOf(batch[i].Change.Kind)
		n := i + 1
		for n < len(batch) && kindOf(batch[n].Change.Kind) == k {
			n++
		}
		if k != nil {
			k.write(w, batch[i:n])
		}
		i = n
	}
	w.syncDirs()
	return s.send(ctx, h, w, len(batch))
}

// syncDirs makes the names in the directories that were written to durable.
func (w *writer) syncDirs() {
	slices.Sort(w.touched)
	for part := range slices.Chunk(slices.Compact(w.touched), maxPaths) {
		fmt.Fprintf(w, "sync -- %s 2>/dev/null || :\n", quoteAll(part))
	}
}

func same(batch []step, err error) []error {
	errs := make([]error, len(batch))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// rename writes the new object and removes the old one. The content may change
// on the way, so it is no plain move.
func (s *set) rename(ctx context.Context, st step) error {
	if err := s.Put(ctx, *st.New, item{}); err != nil {
		return err
	}
	if err := s.Remove(ctx, *st.Old); err != nil {
		return fmt.Errorf("%w: %s is written, but %s is still there: %w", setplan.ErrUnknown, st.New.Address, st.Old.Address, err)
	}
	return nil
}

// minCompress is from what size on a script is compressed.
const minCompress = 64 << 10

// send runs the script and gives each step its outcome.
func (s *set) send(ctx context.Context, h *host, w *writer, steps int) []error {
	in, run := w.text(true), shellFromStdin
	if w.size() > minCompress && s.compresses(h) {
		in, run = compressed(in), shellFromGzip
	}
	out := bounded{most: maxAnswer}
	err := h.t.run(ctx, run, in, &out)
	return outcomes(out.Bytes(), w.nonce, steps, err)
}

// compresses tells whether what is sent to a host is compressed: where it has
// gzip and is not just around the corner.
func (s *set) compresses(h *host) bool {
	if s.connect.Compress == compressNever || !h.facts.has("gzip") {
		return false
	}
	switch t := h.t.(type) {
	case *remote:
		return !t.near
	case *local:
		return false
	}
	return true
}

// compressed gives a reader's content as gzip does.
func compressed(from io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err == nil {
			_, err = io.Copy(z, from)
		}
		if err == nil {
			err = z.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

const maxReason = 600

// outcomes reads what a script said about its steps. What it said nothing
// about may or may not have happened.
func outcomes(out []byte, nonce string, steps int, err error) []error {
	errs := make([]error, steps)
	told := make([]bool, steps)
	ended := false
	var reason strings.Builder
	var fine []int
	after := false // reasons so far belong to outcomes that were told
	for line := range strings.Lines(string(out)) {
		rest, ours := strings.CutPrefix(strings.TrimSuffix(line, "\n"), nonce+" ")
		if !ours {
			if after {
				reason.Reset()
				after = false
			}
			if reason.Len() < maxReason {
				reason.WriteString(line)
			}
			continue
		}
		number, word, _ := strings.Cut(rest, " ")
		if number == "end" {
			ended = true
			continue
		}
		i, convErr := strconv.Atoi(number)
		if convErr != nil || i < 0 || i >= steps {
			continue
		}
		after, told[i] = true, true
		switch word {
		case "ok":
			errs[i] = nil
			fine = append(fine, i)
		case "stale":
			errs[i] = fmt.Errorf("%s: %w", worded(reason.String()), driver.ErrStale)
		default:
			errs[i] = errors.New(worded(reason.String()))
		}
	}
	if !ended {
		// Done, but maybe not on the disk.
		for _, i := range fine {
			told[i] = false
		}
	}
	for i := range errs {
		if !told[i] {
			errs[i] = untold(err, ended, reason.String())
		}
	}
	return errs
}

func worded(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	if s == "" {
		return "the host gives no reason"
	}
	return s
}

// untold words a step that the host said nothing about.
func untold(err error, ended bool, reason string) error {
	switch {
	case errors.Is(err, errNotBegun), errors.Is(err, client.ErrSudo):
		return fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
	case err != nil:
		return fmt.Errorf("%w: %w", setplan.ErrUnknown, err)
	case !ended:
		return fmt.Errorf("%w: the host's answer ends too early: %s", setplan.ErrUnknown, worded(reason))
	}
	return fmt.Errorf("%w: the host says nothing about it: %s", setplan.ErrUnknown, worded(reason))
}

// inline gives shell text that prints content. Printf is part of the shell, so
// content stands in no process list.
func inline(content []byte) string {
	if bytes.IndexByte(content, 0) < 0 {
		return "printf %s " + quote(string(content))
	}
	var b strings.Builder
	for _, c := range content {
		switch c {
		case 0:
			b.WriteString(`\0000`)
		case '\\':
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
	}
	return "printf %b " + quote(b.String())
}
