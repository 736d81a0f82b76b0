package kubefake

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// watcher is one open watch.
type watcher struct {
	s         *Server
	out       *json.Encoder
	flush     func()
	kind      *kind
	sel       selector
	meta      bool
	bookmarks bool
	at        int64 // the version up to which it has seen everything
}

// CutWatches ends all watches, as a server does now and then.
func (s *Server) CutWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.store.cut)
	s.store.cut = make(chan struct{})
}

func (s *Server) watch(w http.ResponseWriter, h *http.Request, r Request) {
	q := h.URL.Query()
	s.mu.Lock()
	k := s.kinds.byResource(r.Resource)
	st := s.store
	cut := st.cut
	s.mu.Unlock()
	sel, err := selectorOf(q, r.Namespace)
	if k == nil {
		err = noSuchPath()
	}
	if s.over.Load() {
		err = apierrors.NewServiceUnavailable("the server ends")
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json;stream=watch")
	w.WriteHeader(http.StatusOK)
	x := &watcher{s: s, out: json.NewEncoder(w), flush: w.(http.Flusher).Flush, kind: k, sel: sel, meta: r.Meta, bookmarks: q.Get("allowWatchBookmarks") == "true"}
	x.flush()
	end := time.NewTimer(time.Hour)
	if n, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && n > 0 {
		end.Reset(time.Duration(n) * time.Second)
	}
	defer end.Stop()
	if !x.begin(st, q) {
		return
	}
	for {
		news, ok := x.send(st)
		if !ok {
			return
		}
		select {
		case <-news:
		case <-end.C:
			return
		case <-cut:
			return
		case <-h.Context().Done():
			return
		}
	}
}

// begin sends what is there already, if the watch begins without a version.
func (x *watcher) begin(st *store, q url.Values) bool {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	from := q.Get("resourceVersion")
	initial := q.Get("sendInitialEvents") == "true"
	if from != "" && from != "0" && !initial {
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return x.event(watch.Error, statusOf(apierrors.NewBadRequest("invalid resource version "+from)))
		}
		if n < st.oldest-1 {
			x.event(watch.Error, statusOf(apierrors.NewResourceExpired("too old resource version: "+from+" ("+strconv.FormatInt(st.oldest, 10)+")")))
			return false
		}
		x.at = n
		return true
	}
	for _, u := range st.all(x.kind.group(), x.sel.namespace) {
		if x.sel.fits(u) && !x.event(watch.Added, x.kind.show(u, x.meta)) {
			return false
		}
	}
	x.at = st.version
	if initial {
		return x.bookmark(map[string]any{metav1.InitialEventsAnnotationKey: "true"})
	}
	return true
}

// send sends what happened since, and gives what tells of the next event.
func (x *watcher) send(st *store) (news chan struct{}, ok bool) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	sent, was := false, x.at
	for _, e := range st.events {
		if e.version <= x.at {
			continue
		}
		x.at = e.version
		if e.group != x.kind.group() {
			continue
		}
		kind := x.means(e)
		if kind == "" {
			continue
		}
		sent = true
		if !x.event(kind, x.kind.show(e.object, x.meta)) {
			return nil, false
		}
	}
	if x.bookmarks && !sent && x.at > was && !x.bookmark(nil) {
		return nil, false
	}
	return st.news, true
}

// means says what an event is to a selector: an object that fits no more is
// deleted for it.
func (x *watcher) means(e event) watch.EventType {
	fits := x.sel.fits(e.object)
	did := e.before != nil && x.sel.fits(e.before)
	switch {
	case e.kind == watch.Deleted && did:
		return watch.Deleted
	case e.kind == watch.Deleted, !fits && !did:
		return ""
	case fits && !did:
		return watch.Added
	case fits:
		return watch.Modified
	}
	return watch.Deleted
}

func (x *watcher) bookmark(annotations map[string]any) bool {
	meta := map[string]any{"resourceVersion": strconv.FormatInt(x.at, 10)}
	if annotations != nil {
		meta["annotations"] = annotations
	}
	u := &unstructured.Unstructured{Object: map[string]any{"metadata": meta}}
	return x.event(watch.Bookmark, x.kind.show(u, x.meta))
}

func (x *watcher) event(kind watch.EventType, object any) bool {
	err := x.out.Encode(map[string]any{"type": kind, "object": object})
	x.flush()
	return err == nil
}

func statusOf(e *apierrors.StatusError) metav1.Status {
	st := e.Status()
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return st
}
