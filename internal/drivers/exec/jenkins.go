package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

const jenkins Preset = "jenkins"

// Jenkins is a job on a Jenkins server, in place of commands.
type Jenkins struct {
	// URL is the server's address.
	URL string `yaml:"url" json:"url" jsonschema:"required"`
	// Job is the job's full name, with its folders: infra/deploy.
	Job string `yaml:"job" json:"job" jsonschema:"required"`
	// User and Token log in: an account and an API token of it.
	User  string     `yaml:"user" json:"user" jsonschema:"required"`
	Token secret.Ref `yaml:"token" json:"token" jsonschema:"required"`
	// Parameters are given to the build, beside the target's values.
	Parameters map[string]string `yaml:"parameters,omitempty" json:"parameters,omitempty"`
}

func (j *Jenkins) validate(d *plan.Diagnostics) {
	at := plan.Source{}
	u, err := url.Parse(j.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		d.Errorf(at, "jenkins.url", "write it as https://jenkins.example.com", "%q is no address of a server", j.URL)
	}
	for n, v := range map[string]string{"job": j.Job, "user": j.User, "token": string(j.Token)} {
		if v == "" {
			d.Errorf(at, "jenkins."+n, "give it", "is missing")
		}
	}
}

// jenkinsPoll is how often a queue and a console are asked.
var jenkinsPoll = time.Second

// jenkinsRun is one build.
type jenkinsRun struct {
	*Jenkins
	token string
	http  *http.Client
	lines *liner
}

// jenkins triggers the job, waits for it and streams its console. The error
// says how it failed.
func (w *work) jenkins(ctx context.Context, log func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, w.s.connect.Timeout)
	defer cancel()
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r := &jenkinsRun{Jenkins: w.s.connect.Jenkins, token: w.s.secrets[jenkinsToken], lines: &liner{scrub: w.scrub, log: log},
		http: &http.Client{Timeout: 30 * time.Second, CheckRedirect: stay}}
	form := url.Values{}
	for k, v := range r.Parameters {
		form.Set(k, v)
	}
	raw, err := w.read(fileValues)
	if err != nil {
		return err
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return err
	}
	for k, v := range values {
		var text string
		if json.Unmarshal(v, &text) != nil {
			text = string(v)
		}
		form.Set(k, text)
	}
	err = r.run(ctx, form)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the build did not end within %s and was stopped: %s", w.s.connect.Timeout, r.lines.tail())
	}
	return err
}

func (r *jenkinsRun) job() string {
	out := strings.TrimRight(r.URL, "/")
	for _, p := range strings.Split(r.Job, "/") {
		out += "/job/" + url.PathEscape(p)
	}
	return out
}

var queueItem = regexp.MustCompile(`/queue/item/(\d+)/?$`)

func (r *jenkinsRun) run(ctx context.Context, form url.Values) error {
	_, head, err := r.call(ctx, http.MethodPost, r.job()+"/buildWithParameters", form)
	if err != nil {
		return err
	}
	m := queueItem.FindStringSubmatch(head.Get("Location"))
	if m == nil {
		return errors.New("jenkins took the build and named no place in its queue")
	}
	number, err := r.queued(ctx, m[1])
	if err != nil {
		r.stop(ctx, strings.TrimRight(r.URL, "/")+"/queue/cancelItem?id="+m[1])
		return err
	}
	build := r.job() + "/" + strconv.Itoa(number)
	r.lines.log(fmt.Sprintf("build %d of %s", number, r.Job))
	if err := r.console(ctx, build); err != nil {
		r.stop(ctx, build+"/stop")
		return err
	}
	return r.result(ctx, build)
}

// queued waits until a build has begun.
func (r *jenkinsRun) queued(ctx context.Context, item string) (int, error) {
	last := ""
	for {
		var q struct {
			Cancelled  bool                  `json:"cancelled"`
			Why        string                `json:"why"`
			Executable *struct{ Number int } `json:"executable"`
		}
		if err := r.get(ctx, strings.TrimRight(r.URL, "/")+"/queue/item/"+item+"/api/json", &q); err != nil {
			return 0, err
		}
		switch {
		case q.Cancelled:
			return 0, errors.New("the build was cancelled in Jenkins' queue")
		case q.Executable != nil:
			return q.Executable.Number, nil
		case q.Why != last:
			last = q.Why
			r.lines.log("waiting: " + r.lines.scrub.text(clean(q.Why)))
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(jenkinsPoll):
		return nil
	}
}

// console streams what the build prints, until it has ended.
func (r *jenkinsRun) console(ctx context.Context, build string) error {
	defer r.lines.end()
	for start := "0"; ; {
		text, head, err := r.call(ctx, http.MethodGet, build+"/logText/progressiveText?start="+start, nil)
		if err != nil {
			return err
		}
		_, _ = r.lines.Write(text)
		if size := head.Get("X-Text-Size"); size != "" {
			start = url.QueryEscape(size)
		}
		if head.Get("X-More-Data") != "true" {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func (r *jenkinsRun) result(ctx context.Context, build string) error {
	for {
		var b struct {
			Building bool   `json:"building"`
			Result   string `json:"result"`
		}
		if err := r.get(ctx, build+"/api/json", &b); err != nil {
			return err
		}
		switch {
		case b.Building || b.Result == "":
		case b.Result == "SUCCESS":
			return nil
		default:
			return fmt.Errorf("the build ended as %s: %s", clean(b.Result), r.lines.tail())
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// stop ends a build or takes it out of the queue, when we go away from it.
func (r *jenkinsRun) stop(ctx context.Context, target string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, _, err := r.call(ctx, http.MethodPost, target, url.Values{}); err != nil {
		r.lines.log("the build could not be stopped: " + err.Error())
	}
}

func (r *jenkinsRun) get(ctx context.Context, target string, into any) error {
	text, _, err := r.call(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("what jenkins answers can't be read: %w", err)
	}
	return nil
}

func (r *jenkinsRun) call(ctx context.Context, method, target string, form url.Values) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return nil, nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.SetBasicAuth(r.User, r.token)
	resp, err := r.http.Do(req)
	if err != nil && ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("jenkins: %w: %s", driver.ErrUnreachable, r.lines.scrub.text(err.Error()))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("jenkins: the answer was cut short: %w", err)
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, nil, driver.Permanent(fmt.Errorf("jenkins: %s (check user and token)", resp.Status))
	case resp.StatusCode >= 300 && (method == http.MethodGet || resp.StatusCode >= 400):
		return nil, nil, fmt.Errorf("jenkins: %s %s: %s", method, req.URL.Path, resp.Status)
	}
	return text, resp.Header, nil
}
