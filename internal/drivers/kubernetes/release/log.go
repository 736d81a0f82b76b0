package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// runLog takes what Helm logs: warnings, and what it waits for, each once. What
// looks like a secret of the release is masked.
type runLog struct {
	shared *logState
	attrs  []slog.Attr
}

type logState struct {
	out   func(format string, args ...any)
	clean func(string) string

	mu   sync.Mutex
	last string
	err  error // the last one that came with a message
}

func newRunLog(out func(format string, args ...any), clean func(string) string) *runLog {
	return &runLog{shared: &logState{out: out, clean: clean}}
}

// Enabled takes everything: errors that Helm tells nowhere else come as debug.
func (l *runLog) Enabled(context.Context, slog.Level) bool { return true }

// WithGroup leaves groups out.
func (l *runLog) WithGroup(string) slog.Handler { return l }

// WithAttrs adds attributes.
func (l *runLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &runLog{shared: l.shared, attrs: append(append([]slog.Attr{}, l.attrs...), attrs...)}
}

// Handle writes a line.
func (l *runLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case error:
			l.shared.note(v)
		case []error:
			l.shared.note(errors.Join(v...))
		}
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	if r.Level >= slog.LevelWarn || r.Message == "waiting for resource" {
		l.shared.line(b.String())
	}
	return nil
}

func (s *logState) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// told gives the last error that Helm logged, which it does not always return.
func (s *logState) told() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *logState) line(text string) {
	text = s.clean(text)
	s.mu.Lock()
	again := text == s.last
	s.last = text
	s.mu.Unlock()
	if !again {
		s.out("helm: %s", text)
	}
}
