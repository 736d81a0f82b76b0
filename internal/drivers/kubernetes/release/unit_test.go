package release

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestGuard: with the action's end every request ends, but for those about the
// record.
func TestGuard(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	wrote := &atomic.Bool{}
	began := make(chan struct{}, 1)
	g := guarding(ctx, wrote)(tripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("wait") != "" {
			began <- struct{}{}
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
	}))
	send := func(method, url string) error {
		_, err := g.RoundTrip(httptest.NewRequest(method, url, nil))
		return err
	}
	for _, harmless := range [][2]string{{"GET", "/api/v1/pods"}, {"PATCH", "/api/v1/pods/x?dryRun=All"}} {
		if err := send(harmless[0], harmless[1]); err != nil || wrote.Load() {
			t.Errorf("%v: %v, wrote: %v", harmless, err, wrote.Load())
		}
	}
	if err := send("POST", "/api/v1/pods"); err != nil || !wrote.Load() {
		t.Errorf("%v, wrote: %v", err, wrote.Load())
	}
	hung := make(chan error, 1)
	go func() { hung <- send("GET", "/api/v1/pods?wait=1") }()
	<-began
	why := errors.New("the operator stopped it")
	cancel(why)
	if err := <-hung; !errors.Is(err, why) {
		t.Errorf("a request under way ends with %v", err)
	}
	for _, c := range []struct {
		method, path string
		want         error
	}{
		{"POST", "/api/v1/namespaces/x/pods", why},
		{"GET", "/api/v1/namespaces/x/pods", why},
		{"POST", "/api/v1/namespaces/x/secrets", why},
		{"DELETE", "/api/v1/namespaces/x/secrets/sh.helm.release.v1.a.v1", why},
		{"PUT", "/api/v1/namespaces/x/secrets/other", why},
		{"PUT", "/api/v1/namespaces/x/secrets/sh.helm.release.v1.a.v1", nil},
		{"GET", "/api/v1/namespaces/x/secrets", nil},
	} {
		if err := send(c.method, c.path); !errors.Is(err, c.want) {
			t.Errorf("%s %s afterwards: %v", c.method, c.path, err)
		}
	}
}

func TestRecordsThatAreBroken(t *testing.T) {
	b64 := func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }
	for name, data := range map[string][]byte{"nothing": nil, "no base64": []byte("!"), "no JSON": b64("secret-text"), "cut": b64("\x1f\x8b\x08secret"),
		"no info": b64(`{"version":1}`), "no revision": b64(`{"info":{}}`)} {
		if r, err := decodeRecord(data); !errors.Is(err, errBroken) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := decodeRecord(b64(`{"name":"a","version":3,"info":{"status":"deployed"}}`)); err != nil || r.Version != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDocuments(t *testing.T) {
	got := documents("---\n# Source: shop/templates/a.yaml\nkind: A\n---\n# Source: shop/templates/b.yaml\nkind: B\n---\n\n---\nkind: C\n")
	want := []document{{"shop/templates/a.yaml", "kind: A\n"}, {"shop/templates/b.yaml", "kind: B\n"}, {"", "kind: C\n"}}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q", got)
	}
}

func TestDifferences(t *testing.T) {
	a := map[string]any{"same": 1, "x/y": "1", "list": []any{"a", map[string]any{"k": "v"}}, "gone": true, "short": []any{1}}
	b := map[string]any{"same": 1, "x/y": "2", "list": []any{"a", map[string]any{"k": "w"}}, "come": true, "short": []any{1, 2}}
	if got := strings.Join(differences(a, b), " "); got != "/gone /list/1/k /short /x~1y /come" {
		t.Error(got)
	}
	if got := differences(a, a); len(got) != 0 {
		t.Error(got)
	}
}

// TestMasking: errors can still be told apart.
func TestMasking(t *testing.T) {
	r := &Release{hidden: &render.Hidden{Inside: []string{"pass-word"}}}
	err := r.clean(fmt.Errorf("bad pass-word: %w", context.Canceled))
	if err.Error() != "bad ***: context canceled" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if plain := errors.New("nothing"); r.clean(plain) != plain || r.clean(nil) != nil {
		t.Error("an error without secrets is another one")
	}
}

func TestRunLog(t *testing.T) {
	var lines []string
	l := newRunLog(func(f string, args ...any) { lines = append(lines, fmt.Sprintf(f, args...)) }, (&Release{hidden: &render.Hidden{Inside: []string{"geheim"}}}).scrub)
	log := slog.New(l)
	log.Debug("chatter")
	for range 3 {
		log.Debug("waiting for resource", "name", "x")
	}
	log.With("name", "y").Warn("bad geheim", "error", io.ErrUnexpectedEOF)
	if got := strings.Join(lines, "|"); got != "helm: waiting for resource name=x|helm: bad *** name=y error=unexpected EOF" {
		t.Error(got)
	}
	if !errors.Is(l.shared.told(), io.ErrUnexpectedEOF) {
		t.Errorf("%v", l.shared.told())
	}
}

func TestTrouble(t *testing.T) {
	pod := func(phase string, state map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"phase": phase,
			"containerStatuses": []any{map[string]any{"name": "main", "state": state}}}}}
	}
	for want, p := range map[string]*unstructured.Unstructured{
		"":                            pod("Succeeded", nil),
		"pending":                     pod("Pending", nil),
		"container main waits: Pull:": pod("Pending", map[string]any{"waiting": map[string]any{"reason": "Pull", "message": "no such image"}}),
		"container main ended with 3": pod("Failed", map[string]any{"terminated": map[string]any{"exitCode": int64(3), "reason": "Error"}}),
	} {
		if got := trouble(p); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q is not %q", got, want)
		}
	}
}
