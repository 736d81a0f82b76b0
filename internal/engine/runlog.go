package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"trueup.dev/trueup/internal/store"
)

// runLog gathers a run's lines and writes them in batches.
type runLog struct {
	e       *Engine
	run     string
	mu      sync.Mutex
	lines   []store.LogLine
	seq     int64
	flushed time.Time
	// waiting tells that a later flush is under way, so that whoever follows the
	// log sees a line that no other one comes after.
	waiting bool
}

const (
	maxLine   = 4096
	logBatch  = 100
	logFlush  = time.Second
	maxLines  = 20000
	cutMarker = "…"
)

func (e *Engine) newRunLog() *runLog { return &runLog{e: e, flushed: time.Now()} }

// Logf adds a line. Long lines are cut, and a run keeps at most 20,000.
func (l *runLog) Logf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxLine {
		text = text[:maxLine] + cutMarker
	}
	l.mu.Lock()
	if l.seq < maxLines {
		l.seq++
		l.lines = append(l.lines, store.LogLine{Seq: l.seq, At: l.e.clock(), Text: text})
	}
	due := len(l.lines) >= logBatch || time.Since(l.flushed) > logFlush
	if !due && !l.waiting {
		l.waiting = true
		time.AfterFunc(logFlush, func() { l.flush(context.Background()) })
	}
	l.mu.Unlock()
	if due {
		l.flush(context.Background())
	}
}

// flush writes what has gathered. Lines of a run without a record (a check
// that found nothing) are dropped by the store's retention.
func (l *runLog) flush(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushed, l.waiting = time.Now(), false
	if len(l.lines) == 0 || l.run == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := l.e.store.AddLog(ctx, l.run, l.lines); err != nil {
		l.e.log.Warn("log lines were lost", "run", l.run, "lines", len(l.lines), "error", err)
	}
	l.lines = l.lines[:0]
}
