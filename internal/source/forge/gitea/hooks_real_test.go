//go:build real

package gitea_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/gitea"
)

// eventually waits until what gives nothing to complain about.
func eventually(t *testing.T, what func() string) {
	t.Helper()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last = what(); last == "" {
			return
		}
	}
	t.Fatal(last)
}

// inbox takes deliveries as trueup does.
type inbox struct {
	f       *gitea.Forge
	secrets []secret.Value

	mu       sync.Mutex
	events   []forge.Event
	trouble  []string
	recorded []recording
}

type recording struct {
	Headers map[string]string
	Body    string // as it was signed
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		err = b.f.Verify(r.Header, body, b.secrets)
	}
	if !errors.Is(b.f.Verify(r.Header, body, []secret.Value{secret.New("not the secret")}), forge.ErrSignature) ||
		!errors.Is(b.f.Verify(r.Header, append(body, ' '), b.secrets), forge.ErrSignature) {
		b.trouble = append(b.trouble, "a wrong signature passes")
	}
	if err != nil {
		b.trouble = append(b.trouble, err.Error())
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	e, err := b.f.Parse(r.Header, body)
	if err != nil || e.Delivery == "" {
		b.trouble = append(b.trouble, fmt.Sprintf("%+v, %v", e, err))
	}
	b.events = append(b.events, e)
	b.recorded = append(b.recorded, recording{map[string]string{"X-Gitea-Event": r.Header.Get("X-Gitea-Event"), "X-Gitea-Event-Type": r.Header.Get("X-Gitea-Event-Type"),
		"X-Gitea-Delivery": r.Header.Get("X-Gitea-Delivery"), "X-Gitea-Signature": r.Header.Get("X-Gitea-Signature")}, string(body)})
}

// wait waits for an event that fits.
func (b *inbox) wait(t *testing.T, what string, fits func(forge.Event) bool) {
	t.Helper()
	eventually(t, func() string {
		b.mu.Lock()
		defer b.mu.Unlock()
		if slices.ContainsFunc(b.events, fits) {
			return ""
		}
		return fmt.Sprintf("no delivery of: %s; there were %+v, %q", what, b.events, b.trouble)
	})
}

// TestDeliveries sets the webhook up as trueup does, and lives through a pull
// request. With TRUEUP_RECORD=1 the deliveries are kept for the quick tests.
func TestDeliveries(t *testing.T) {
	s, repo, f := repository(t, "hooks", nil)
	ctx := t.Context()
	box := &inbox{f: f, secrets: []secret.Value{secret.New("the older secret, 32 characters.."), secret.New(recordedSecret)}}
	srv := httptest.NewServer(box)
	defer srv.Close()
	url := srv.URL + "/api/v1/webhooks/infra"
	first := must(f.PutHook(ctx, forge.Hook{URL: url, Secret: "the secret before, long forgotten"}))(t)
	must(f.PutHook(ctx, forge.Hook{URL: url + "/other", Secret: "x"}))(t)
	h := must(f.PutHook(ctx, forge.Hook{URL: url, Secret: box.secrets[1].Reveal()}))(t)
	list := must(f.Hooks(ctx))(t)
	i := slices.IndexFunc(list, func(x forge.Hook) bool { return x.URL == url })
	if len(list) != 2 || i < 0 || list[i].ID != h.ID || h.ID == first.ID || !list[i].Active || !covers(list[i].Events, gitea.Events) {
		t.Fatalf("%+v\nwant the events %q", list, gitea.Events)
	}
	if err := f.DeleteHook(ctx, list[1-i].ID); err != nil {
		t.Fatal(err)
	}

	head := world.ann.Commit(repo, "main", "change", "change", map[string]string{"a": "1"})
	n := world.ann.Pull(repo, "change", "main", "A change")
	pull := func(action string) func(forge.Event) bool {
		return func(e forge.Event) bool {
			return e.Kind == forge.PullChanged && e.Number == n && e.Action == action && e.Project == repo
		}
	}
	box.wait(t, "push", func(e forge.Event) bool {
		return e.Kind == forge.Pushed && e.Ref == "refs/heads/change" && e.Commit == head
	})
	box.wait(t, "opened", pull("opened"))
	world.ann.Commit(repo, "change", "", "more", map[string]string{"a": "2"})
	box.wait(t, "synchronized", pull("synchronized"))
	id := world.eve.Comment(repo, n, "trueup plan")
	comment := func(body string) func(forge.Event) bool {
		return func(e forge.Event) bool {
			return e.Kind == forge.Commented && e.Number == n && e.CommentID == fmt.Sprint(id) && e.Author == "eve" && e.Body == body
		}
	}
	box.wait(t, "comment", comment("trueup plan"))
	if err := world.eve.API("PATCH", fmt.Sprintf("/repos/%s/issues/comments/%d", repo, id), map[string]string{"body": "trueup apply"}, nil); err != nil {
		t.Fatal(err)
	}
	box.wait(t, "edited comment", comment("trueup apply"))
	box.events = nil
	world.bob.Review(repo, n, "APPROVED", "fine")
	box.wait(t, "review", pull("reviewed"))
	if err := world.ann.Merge(repo, n); err != nil {
		t.Fatal(err)
	}
	box.wait(t, "closed", pull("closed"))
	box.wait(t, "push of the merge", func(e forge.Event) bool {
		return e.Kind == forge.Pushed && e.Ref == "refs/heads/main" && e.Commit != ""
	})

	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=ann", "-c", "user.email=ann@example.test"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args[0], err, out)
		}
	}
	git("clone", "-q", world.ann.CloneURL(repo), ".")
	git("tag", "v1")
	git("push", "-q", "origin", "v1", ":change")
	box.wait(t, "tag", func(e forge.Event) bool { return e.Kind == forge.Pushed && e.Ref == "refs/tags/v1" && e.Commit != "" })

	box.mu.Lock()
	defer box.mu.Unlock()
	if len(box.trouble) > 0 {
		t.Errorf("%q", box.trouble)
	}
	if os.Getenv("TRUEUP_RECORD") != "" {
		record(t, box.recorded)
	}
	for _, h := range must(f.Hooks(ctx))(t) {
		if err := f.DeleteHook(ctx, h.ID); err != nil {
			t.Error(err)
		}
	}
	if list := must(f.Hooks(ctx))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	_ = s
}

// covers tells whether all of want are in have.
func covers(have, want []string) bool {
	return !slices.ContainsFunc(want, func(e string) bool { return !slices.Contains(have, e) })
}

// record writes one delivery of each kind and action to testdata.
func record(t *testing.T, list []recording) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range list {
		var d struct{ Action string }
		_ = json.Unmarshal([]byte(r.Body), &d)
		name := strings.Trim(r.Headers["X-Gitea-Event-Type"]+"-"+d.Action, "-")
		if seen[name] {
			continue
		}
		seen[name] = true
		b, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".json"), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
