package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/store"
)

// hub tells waiting requests that there are new events. It asks the store, so
// that events of other replicas arrive too.
type hub struct {
	store store.Events
	mu    sync.Mutex
	last  int64
	wake  chan struct{}
}

func newHub(s store.Events) *hub { return &hub{store: s, wake: make(chan struct{})} }

// hubInterval is how late an event is shown at most, more or less.
const hubInterval = 300 * time.Millisecond

func (h *hub) run(ctx context.Context, log *slog.Logger) {
	last, err := lastEvent(ctx, h.store)
	if err != nil {
		log.Warn("events can't be read", "error", err)
	}
	h.advance(last)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(hubInterval):
		}
		events, err := h.store.Events(ctx, h.now(), maxPage)
		if err != nil {
			if ctx.Err() == nil {
				log.Debug("events can't be read", "error", err)
			}
			continue
		}
		if n := len(events); n > 0 {
			h.advance(events[n-1].Seq)
		}
	}
}

func (h *hub) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

func (h *hub) advance(seq int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq > h.last {
		h.last = seq
		close(h.wake)
		h.wake = make(chan struct{})
	}
}

// after gives a channel that is closed when there may be events after seq.
func (h *hub) after(seq int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last > seq {
		now := make(chan struct{})
		close(now)
		return now
	}
	return h.wake
}

// lastEvent finds the newest sequence number by halving, for the store lists
// events only from the oldest on.
func lastEvent(ctx context.Context, s store.Events) (int64, error) {
	exists := func(after int64) (bool, error) {
		e, err := s.Events(ctx, after, 1)
		return len(e) > 0, err
	}
	low, high := int64(0), int64(1)
	for {
		ok, err := exists(high)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, high*2
	}
	for low < high {
		mid := low + (high-low)/2
		ok, err := exists(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return high, nil
}

// events lists events, or streams them as server-sent events when the caller
// asks for text/event-stream. A stream without a place to start from begins
// with what happens next.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	after, err := number(r, "after")
	if err != nil {
		return err
	}
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return s.stream(w, r, after)
	}
	p, err := page(&http.Request{URL: r.URL})
	if err != nil {
		return err
	}
	if r.URL.Query().Get("tail") != "" {
		last, err := lastEvent(r.Context(), s.Store)
		if err != nil {
			return err
		}
		after = max(0, last-int64(p.Limit))
	}
	list, err := s.Store.Events(r.Context(), after, p.Limit)
	if err != nil {
		return err
	}
	out := List[store.Event]{Items: []store.Event{}}
	for _, e := range list {
		if s.seesEvent(r, e) {
			out.Items = append(out.Items, e)
		}
	}
	if len(list) == p.Limit {
		out.Next = fmt.Sprint(list[len(list)-1].Seq)
	}
	return reply(w, http.StatusOK, out)
}

// seesEvent tells whether the caller may see an event; callers that are limited to
// environments see those of their targets only.
func (s *Server) seesEvent(r *http.Request, e store.Event) bool {
	if !caller(r).Narrowed() {
		return true
	}
	if e.Target == "" {
		return false
	}
	t, err := s.Store.Target(r.Context(), e.Target)
	return err == nil && caller(r).Sees(t.Environment)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, after int64) error {
	if after == 0 {
		_, _ = fmt.Sscan(r.Header.Get("Last-Event-ID"), &after)
	}
	if after == 0 {
		after = s.hub.now()
	}
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for {
		list, err := s.Store.Events(r.Context(), after, maxPage)
		if err != nil {
			return errGone
		}
		if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return errGone
		}
		for _, e := range list {
			after = e.Seq
			if !s.seesEvent(r, e) {
				continue
			}
			body, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, body); err != nil {
				return errGone
			}
		}
		if len(list) == 0 {
			if _, err := fmt.Fprint(w, ": alive\n\n"); err != nil {
				return errGone
			}
		}
		if err := c.Flush(); err != nil {
			return errGone
		}
		select {
		case <-r.Context().Done():
			return errGone
		case <-s.stop:
			return errGone
		case <-s.hub.after(after):
		case <-time.After(15 * time.Second):
		}
	}
}
