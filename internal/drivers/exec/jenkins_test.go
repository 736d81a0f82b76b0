package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/plan"
)

// fakeJenkins answers as Jenkins' documentation of its remote API says: a
// build waits in the queue, then prints its console in pieces.
type fakeJenkins struct {
	t       *testing.T
	mu      sync.Mutex
	result  string
	params  string
	asked   int
	stopped []string
	forever bool
}

func (f *fakeJenkins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u, p, _ := r.BasicAuth(); u != "bot" || p != canary {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	console := "line one\ntoken " + canary + "\nlast"
	switch r.Method + " " + r.URL.Path {
	case "POST /job/infra/job/deploy/buildWithParameters":
		_ = r.ParseForm()
		f.params, f.asked = r.PostForm.Encode(), 0
		w.Header().Set("Location", "http://"+r.Host+"/queue/item/7/")
		w.WriteHeader(http.StatusCreated)
	case "GET /queue/item/7/api/json":
		if f.asked++; f.asked < 3 {
			_, _ = w.Write([]byte(`{"cancelled": null, "why": "In the quiet period"}`))
			return
		}
		_, _ = w.Write([]byte(`{"executable": {"number": 12, "url": "http://elsewhere/"}}`))
	case "GET /job/infra/job/deploy/12/logText/progressiveText":
		start := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("start"), &start)
		end := min(start+13, len(console))
		w.Header().Set("X-Text-Size", fmt.Sprint(end))
		if end < len(console) || f.forever {
			w.Header().Set("X-More-Data", "true")
		}
		_, _ = w.Write([]byte(console[start:end]))
	case "GET /job/infra/job/deploy/12/api/json":
		_, _ = fmt.Fprintf(w, `{"building": false, "result": %q}`, f.result)
	case "POST /job/infra/job/deploy/12/stop":
		f.stopped = append(f.stopped, r.URL.Path)
	default:
		f.t.Errorf("%s %s is not in the documentation", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestJenkinsPreset(t *testing.T) {
	exec.PollJenkins(5 * time.Millisecond)
	f := &fakeJenkins{t: t, result: "SUCCESS"}
	srv := httptest.NewServer(f)
	defer srv.Close()
	c := &exec.Connect{Preset: "jenkins", Jenkins: &exec.Jenkins{URL: srv.URL, Job: "infra/deploy", User: "bot", Token: "mem:x", Parameters: map[string]string{"STAGE": "prod"}}}
	s := open(t, c)
	in := input(nil)
	in.Values = map[string]plan.Output{"IP": {Value: json.RawMessage(`"192.0.2.1"`)}}
	p, err := s.Plan(t.Context(), in)
	if err != nil || len(p.Changes) != 1 || !p.Changes[0].Simulated {
		t.Fatalf("%v, %+v", err, p)
	}
	j := drivertest.NewJournal(nil, p)
	if err := s.Apply(t.Context(), in, p, j); err != nil {
		t.Fatal(err)
	}
	if f.params != "IP=192.0.2.1&STAGE=prod" || !strings.Contains(j.Log(), "waiting: In the quiet period\n") || !strings.Contains(j.Log(), "line one\ntoken ***\nlast\n") {
		t.Errorf("parameters %s, log:\n%s", f.params, j.Log())
	}
	done := input(j.Inventory())
	done.Values = in.Values
	if p, err := s.Plan(t.Context(), done); err != nil || !p.Empty() {
		t.Errorf("after apply: %v, %+v", err, p.Changes)
	}

	f.result = "UNSTABLE"
	j = drivertest.NewJournal(nil, p)
	err = s.Apply(t.Context(), in, p, j)
	if err == nil || !strings.Contains(err.Error(), "UNSTABLE") || strings.Contains(err.Error(), canary) || j.Results()[0].Outcome != plan.Unknown {
		t.Errorf("%v, %+v", err, j.Results())
	}

	f.forever = true
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if err := s.Apply(ctx, in, p, drivertest.NewJournal(nil, p)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.stopped) != 1 {
		t.Errorf("a cancelled run left the build running")
	}
}
