package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
)

// recorder keeps the log.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

const short = 300 * time.Millisecond

func one(t *testing.T, c *Checker, h config.Health) (Result, string) {
	t.Helper()
	var log recorder
	r := c.Run(t.Context(), []config.Health{h}, log.logf)
	return r[0], log.String()
}

// healthy gives the check ample time: a healthy one does not need it.
func healthy(t *testing.T, c *Checker, h config.Health) {
	t.Helper()
	h.Within = time.Minute
	if r, _ := one(t, c, h); !r.OK || r.Err != "" {
		t.Errorf("%s: %s", r.Check, r.Err)
	}
}

// unhealthy gives a check little time, and more if that was too short on a
// busy machine to find out what is wrong.
func unhealthy(t *testing.T, c *Checker, h config.Health, want string) {
	t.Helper()
	times := []time.Duration{short, 3 * time.Second, 15 * time.Second}
	if h.Within != 0 {
		times = []time.Duration{h.Within}
	}
	var r Result
	for _, h.Within = range times {
		if r, _ = one(t, c, h); !r.OK && strings.Contains(r.Err, want) {
			return
		}
	}
	t.Errorf("%s: ok %v, %q, want %q", r.Check, r.OK, r.Err, want)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTCP(t *testing.T) {
	l := listen(t)
	healthy(t, &Checker{}, config.Health{TCP: l.Addr().String()})
	l.Close()
	unhealthy(t, &Checker{}, config.Health{TCP: l.Addr().String()}, "connection refused")
	unhealthy(t, &Checker{}, config.Health{TCP: "nowhere", Within: time.Hour}, "write host:port")
	unhealthy(t, &Checker{}, config.Health{TCP: "169.254.169.254:80"}, "link-local")
	unhealthy(t, &Checker{}, config.Health{HTTP: "http://169.254.169.254/latest/meta-data"}, "link-local")
}

// A service that comes up late is found healthy soon after.
func TestLate(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	l.Close()
	timer := time.AfterFunc(500*time.Millisecond, func() {
		if again, err := net.Listen("tcp", addr); err == nil {
			time.AfterFunc(10*time.Second, func() { again.Close() })
		}
	})
	defer timer.Stop()
	r, _ := one(t, &Checker{}, config.Health{TCP: addr, Within: 10 * time.Second})
	if !r.OK || r.Took < 400*time.Millisecond || r.Took > 5*time.Second {
		t.Errorf("%+v", r)
	}
}

// What is healthy for a moment only is not healthy with a time to stay so.
func TestStaysHealthy(t *testing.T) {
	var mu sync.Mutex
	asked, dies := 0, true
	c := &Checker{Driver: func(context.Context, map[string]any) error {
		mu.Lock()
		defer mu.Unlock()
		if asked++; dies && asked%2 == 0 {
			return errors.New("it has died")
		}
		return nil
	}}
	check := config.Health{Driver: map[string]any{"x": 1}, Within: 2 * time.Second, For: 1500 * time.Millisecond}
	if r, _ := one(t, c, check); r.OK || !strings.Contains(r.Err, "did not stay so: it has died") {
		t.Errorf("%+v", r)
	}
	mu.Lock()
	dies = false
	mu.Unlock()
	if r, _ := one(t, c, check); !r.OK || r.Took < check.For {
		t.Errorf("%+v", r)
	}
}

func TestHTTP(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("the other host was asked") }))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			w.WriteHeader(http.StatusNoContent)
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		default:
			http.Error(w, "down, token=canary", http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	c := &Checker{}
	healthy(t, c, config.Health{HTTP: s.URL + "/ok"})
	healthy(t, c, config.Health{HTTP: s.URL + "/teapot", Status: 418})
	healthy(t, c, config.Health{HTTP: s.URL + "/moved"})
	healthy(t, c, config.Health{HTTP: s.URL + "/moved", Status: 302})
	healthy(t, c, config.Health{HTTP: s.URL + "/endless"})
	unhealthy(t, c, config.Health{HTTP: s.URL + "/teapot"}, "answered 418 I'm a teapot, not 200 to 299")
	unhealthy(t, c, config.Health{HTTP: s.URL + "/ok", Status: 200}, "answered 204 No Content, not 200")
	unhealthy(t, c, config.Health{HTTP: s.URL + "/loop"}, "answered 302")
	unhealthy(t, c, config.Health{HTTP: s.URL + "/away"}, "which is not followed")
	unhealthy(t, c, config.Health{HTTP: "file:///etc/passwd"}, "no http or https URL")
	with := strings.Replace(s.URL, "http://", "http://u:canary@", 1) + "/down?key=canary"
	r, log := one(t, c, config.Health{HTTP: with, Within: 2 * time.Second})
	if all := fmt.Sprint(r, log); r.OK || strings.Contains(all, "canary") || !strings.Contains(all, "503") {
		t.Errorf("%v\n%s", r, log)
	}
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	unhealthy(t, &Checker{}, config.Health{HTTP: s.URL}, "certificate")
	healthy(t, &Checker{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}, config.Health{HTTP: s.URL})
	if _, err := Pool([]byte("nothing")); err == nil {
		t.Error("a pool without certificates")
	}
}

// What a driver's check waits for is logged when it changes, not every time.
func TestDriverChecksLogChanges(t *testing.T) {
	texts := []string{"1 of 3", "1 of 3", "2 of 3", "2 of 3", "1 of 3"}
	asked := 0
	c := &Checker{Driver: func(context.Context, map[string]any) error {
		if asked++; asked <= len(texts) {
			return fmt.Errorf("%w: %s", driver.ErrNotReady, texts[asked-1])
		}
		return nil
	}}
	_, log := one(t, c, config.Health{Driver: map[string]any{"ready": "all"}, Within: time.Minute})
	if n := strings.Count(log, "not ready: "); n != 3 || strings.Count(log, "\n") != 3 {
		t.Errorf("%d lines of progress:\n%s", n, log)
	}
}

func TestDriverChecks(t *testing.T) {
	var asked atomic.Int32
	c := &Checker{Driver: func(_ context.Context, check map[string]any) error {
		if check["ready"] != "all" {
			return driver.Permanent(errors.New("no such check"))
		}
		if asked.Add(1) < 3 {
			return driver.ErrNotReady
		}
		return nil
	}}
	healthy(t, c, config.Health{Driver: map[string]any{"ready": "all"}})
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}
	unhealthy(t, c, config.Health{Driver: map[string]any{"other": 1}, Within: time.Hour}, "no such check")
	unhealthy(t, &Checker{}, config.Health{Driver: map[string]any{"other": 1}, Within: time.Hour}, "offers no checks")
	unhealthy(t, &Checker{}, config.Health{Within: time.Hour}, "asks nothing")
}

// Checks run at the same time, come back in order, and one that hangs holds
// up no other.
func TestParallelAndCancel(t *testing.T) {
	l := listen(t)
	hang := &Checker{Driver: func(ctx context.Context, _ map[string]any) error { <-ctx.Done(); return ctx.Err() }}
	var checks []config.Health
	for range 100 {
		checks = append(checks, config.Health{Driver: map[string]any{"hang": true}, Within: time.Minute}, config.Health{TCP: l.Addr().String()})
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	start := time.Now()
	results := hang.Run(ctx, checks, nil)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a cancelled run took %v", took)
	}
	if Healthy(results) || len(results) != len(checks) {
		t.Error("hanging checks are healthy")
	}
	for i, r := range results {
		if i%2 == 0 && (r.OK || !strings.Contains(r.Err, "cancelled")) || r.Check == "" {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	some := []config.Health{{TCP: l.Addr().String()}, {Driver: map[string]any{"hang": true}, Within: short}}
	if r := hang.Run(t.Context(), some, nil); !r[0].OK || r[1].OK || Healthy(r) || !Healthy(r[:1]) {
		t.Errorf("%+v", r)
	}
}

// The last real finding is told, not that time ran out.
func TestFindingSurvivesDeadline(t *testing.T) {
	var n atomic.Int32
	c := &Checker{Driver: func(ctx context.Context, _ map[string]any) error {
		if n.Add(1) == 1 {
			return errors.New("two of three replicas")
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	unhealthy(t, c, config.Health{Driver: map[string]any{"x": 1}, Within: time.Second}, "not healthy within 1s: two of three replicas")
}
