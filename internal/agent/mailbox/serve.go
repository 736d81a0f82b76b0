package mailbox

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/store"
)

// refusal is an error with an HTTP status; its text may go to the agent.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

var (
	errUnknown  = refusal{http.StatusUnauthorized, "this agent is not known here, or its signature is wrong"}
	errRevoked  = refusal{http.StatusForbidden, "this agent was revoked; enrol it anew"}
	errOver     = refusal{http.StatusForbidden, "this agent's identity has ended; enrol it anew"}
	errReplay   = refusal{http.StatusUnauthorized, "the call was made before"}
	errClock    = refusal{http.StatusUnauthorized, "the host's clock is off by more than " + wire.Window.String()}
	errTooFast  = refusal{http.StatusTooManyRequests, "too many calls; come back later"}
	errTooLarge = refusal{http.StatusRequestEntityTooLarge, "the body is too large"}
	errBad      = refusal{http.StatusBadRequest, "the body can't be read"}
	errNothing  = refusal{http.StatusNotFound, "there is nothing here"}
	errGone     = refusal{http.StatusGone, "the request is not wanted any more"}
)

// call is one recognised call.
type call struct {
	r     *http.Request
	agent store.Agent
	boot  string
	body  []byte
}

// Handler answers agents. The server around it bounds headers, times and
// connections.
func (o *Office) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrol, func(w http.ResponseWriter, r *http.Request) { o.answer(w, r, o.enrol) })
	for path, h := range map[string]struct {
		limit  int64
		handle func(ctx context.Context, c call) (any, error)
	}{
		wire.PathPoll:    {wire.MaxSmall, o.poll},
		wire.PathContent: {wire.MaxSmall, o.content},
		wire.PathMessage: {wire.MaxMessage, o.message},
		wire.PathDrift:   {wire.MaxMessage, o.drift},
		wire.PathRenew:   {wire.MaxSmall, o.renew},
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			o.answer(w, r, func(r *http.Request) (any, error) {
				c, err := o.recognise(r, h.limit)
				if err != nil {
					return nil, err
				}
				return h.handle(r.Context(), c)
			})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		o.answer(w, r, func(*http.Request) (any, error) { return nil, errNothing })
	})
	return mux
}

// writeWait is how long an agent may take to fetch one answer.
const writeWait = 2 * time.Minute

// answer turns what a handler gives into JSON, or bytes.
func (o *Office) answer(w http.ResponseWriter, r *http.Request, h func(*http.Request) (any, error)) {
	from := address(r)
	if o.strange.empty(from) {
		o.write(w, errTooFast.status, wire.Problem{Error: errTooFast.text})
		return
	}
	out, err := h(r)
	var no refusal
	switch {
	case err == nil:
	case errors.As(err, &no):
		if no.status == http.StatusUnauthorized || no.status == http.StatusForbidden {
			o.strange.take(from)
			o.Log.Warn("an agent's call is refused", "path", r.URL.Path, "from", from, "error", no.text)
		}
		o.write(w, no.status, wire.Problem{Error: no.text})
		return
	default:
		if r.Context().Err() == nil {
			o.Log.Error("an agent's call failed", "path", r.URL.Path, "error", err)
		}
		o.write(w, http.StatusServiceUnavailable, wire.Problem{Error: "the server can't answer now"})
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWait))
	if b, ok := out.([]byte); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(b)
		return
	}
	o.write(w, http.StatusOK, out)
}

func (o *Office) write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the agent is gone: nothing to be done
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// body reads a bounded body.
func body(r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, errBad
	}
	if int64(len(b)) > limit {
		return nil, errTooLarge
	}
	return b, nil
}

// recognise finds out who calls: the signature covers method, path, body,
// host, time and nonce, and each nonce counts once.
func (o *Office) recognise(r *http.Request, limit int64) (call, error) {
	said, err := wire.ReadCall(r.Header)
	if err != nil {
		return call{}, errUnknown
	}
	b, err := body(r, limit)
	if err != nil {
		return call{}, err
	}
	a, err := o.Store.Agent(r.Context(), said.Host)
	if errors.Is(err, store.ErrNotFound) {
		return call{}, errUnknown
	}
	if err != nil {
		return call{}, err
	}
	key, err := base64.StdEncoding.DecodeString(a.PublicKey)
	now := o.Clock()
	switch {
	case err != nil || !said.Check(ed25519.PublicKey(key), r, b):
		return call{}, errUnknown
	case !o.familiar.take(a.Host):
		return call{}, errTooFast
	case a.State != store.AgentActive:
		return call{}, errRevoked
	case !a.ExpiresAt.After(now):
		return call{}, errOver
	case !said.InWindow(now):
		return call{}, errClock
	}
	err = o.Store.Called(r.Context(), store.AgentCall{Host: a.Host, PublicKey: a.PublicKey, Nonce: said.Nonce, Boot: said.Boot,
		Version: r.UserAgent(), Address: address(r), Keep: 2*wire.Window + time.Minute})
	switch {
	case errors.Is(err, store.ErrConflict):
		return call{}, errReplay
	case errors.Is(err, store.ErrNotFound):
		return call{}, errRevoked
	case err != nil:
		return call{}, err
	}
	return call{r: r, agent: a, boot: said.Boot, body: b}, nil
}

func decode(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return errBad
	}
	return nil
}
