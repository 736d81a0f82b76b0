package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	registries "trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge/forgetest"
	"trueup.dev/trueup/internal/store"
)

// hub is a registry on loopback that asks for a password.
type hub struct {
	t    *testing.T
	srv  *httptest.Server
	mu   sync.Mutex
	down func(w http.ResponseWriter, r *http.Request) bool // answers in place of the registry
	n    int                                               // requests
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t}
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Push") != "" {
			real.ServeHTTP(w, r)
			return
		}
		h.mu.Lock()
		h.n++
		down := h.down
		h.mu.Unlock()
		if down != nil && down(w, r) {
			return
		}
		if u, p, _ := r.BasicAuth(); u != "robot" || p != "canary-registry-token" {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(h.srv.Close)
	t.Setenv("REGISTRY_TOKEN", "canary-registry-token")
	return h
}

func (h *hub) host() string { return strings.TrimPrefix(h.srv.URL, "http://") }

func (h *hub) set(down func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

func (h *hub) requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// push makes an image of its own for each text and gives its digest.
func (h *hub) push(repo, tag, content string) string {
	h.t.Helper()
	img, err := mutate.CreatedAt(empty.Image, v1.Time{Time: time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)})
	if err == nil {
		img, err = mutate.Config(img, v1.Config{Labels: map[string]string{"content": content}})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	ref, err := name.NewTag(h.host()+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithTransport(pushing{})); err != nil {
		h.t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		h.t.Fatal(err)
	}
	return d.String()
}

// pull removes a tag.
func (h *hub) remove(repo, tag string) {
	h.t.Helper()
	ref, err := name.NewTag(h.host()+"/"+repo+":"+tag, name.Insecure)
	if err == nil {
		err = remote.Delete(ref, remote.WithTransport(pushing{}))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

type pushing struct{}

func (pushing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Push", "1")
	return http.DefaultTransport.RoundTrip(r)
}

func (w *imagesWorld) open(all []*config.Registry, dir string, resolve func(context.Context, secret.Ref) (secret.Value, error)) (engine.Registries, error) {
	o := registries.Options{Secret: resolve, Dir: dir, Now: w.now}
	for _, r := range all {
		o.Sources = append(o.Sources, r.Source)
	}
	return registries.New(o)
}

const imagesConfig = `version: 1
limits: {retryMin: 100ms, retryMax: 500ms}
repositories:
  infra: {url: %[1]s/origin.git, branch: main, poll: 1s, %[2]s}
  other: {url: %[1]s/origin.git, branch: main, poll: 1h}
environments:
  site: {driver: files, connect: {root: %[1]s/site}, allow: [{repository: infra}]}
  prod: {driver: files, connect: {root: %[1]s/site2}, allow: [{repository: infra}]}
registries:
  acme: {url: "oci://%[3]s/acme", insecure: true, username: robot, password: "env:REGISTRY_TOKEN", poll: 1m, allow: %[4]s}
`

// imagesWorld is a world with a registry.
type imagesWorld struct {
	*world
	hub   *hub
	ahead atomic.Int64 // of the engine's clock
}

func newImages(t *testing.T, repository, allow, manifest string, files map[string]string) *imagesWorld {
	t.Helper()
	t.Setenv("FORGE_TOKEN", "canary-forge-token")
	w := &imagesWorld{world: newWorld(t), hub: newHub(t)}
	w.run(w.dir, "mkdir", "-p", "site2")
	w.forge = forgetest.New("acme/infra")
	w.images = w.open
	w.now = func() time.Time { return time.Now().UTC().Add(time.Duration(w.ahead.Load())) }
	w.config = fmt.Sprintf(imagesConfig, w.dir, repository, w.hub.host(), allow)
	files["trueup.yaml"] = strings.ReplaceAll(manifest, "HUB", w.hub.host())
	w.push(files)
	return w
}

// propose asks for the work that proposes.
func (w *imagesWorld) propose() {
	_ = w.st.Trigger(context.Background(), store.Trigger{Kind: store.Propose, Key: "infra", Slot: "propose:infra", Class: store.ByPerson, Cause: "test", Actor: "user:t"})
}

// update gives the record of what was proposed.
func (w *imagesWorld) update(what, key string, check func(x store.Edit) bool) store.Edit {
	w.t.Helper()
	var x store.Edit
	w.eventually(what, func() bool {
		w.propose()
		var err error
		x, err = w.st.Edit(context.Background(), store.VersionUpdate, key)
		return err == nil && check(x)
	})
	return x
}

func (w *imagesWorld) list() []edit.Followed {
	w.t.Helper()
	all, err := w.e.Images(context.Background(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// looked waits until the registries were asked, or could not be, n times more,
// and what follows from it was done.
func (w *imagesWorld) looked(n int) {
	w.t.Helper()
	for range n {
		before := w.seen("infra/shop").At
		w.eventually("another look", func() bool { return w.seen("infra/shop").At.After(before) })
	}
	w.propose()
	w.eventually("proposals are looked at", func() bool {
		x, err := w.st.Work(context.Background(), store.Propose, "infra")
		return err != nil || x.Owner == "" && x.Observed == x.Generation // done, and gone if there is no more to do
	})
}

func (w *imagesWorld) seen(target string) store.Edit {
	x, err := w.st.Edit(context.Background(), store.SeenVersions, target)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	return x
}

const shopManifest = `version: 1
targets:
  - name: shop
    environment: site
    path: web
    images:
      - {image: HUB/acme/shop, follow: {semver: ">=1.2 <2"}, fields: [{file: values.yaml, path: $.image.tag}]}
`

func isProposed(x store.Edit) bool { return x.State == store.EditProposed }

func TestImagesAreProposed(t *testing.T) {
	w := newImages(t, onForge, "infra", shopManifest, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	for _, tag := range []string{"1.2.3", "1.2", "latest", "2.0.0", "1.2.0"} {
		w.hub.push("acme/shop", tag, tag)
	}
	w.start()
	w.eventually("nothing is newer", func() bool {
		l := w.list()
		return len(l) == 1 && l[0].State == edit.FollowedCurrent && l[0].InUse == "1.2.3" && l[0].Newest == "1.2.3"
	})
	digest := w.hub.push("acme/shop", "1.2.4", "1.2.4")
	first := w.update("a proposal", "infra/shop", isProposed)
	if first.Branch != "trueup/images/shop" || w.origin("diff", "main", first.Branch, "-U0") == "" {
		t.Errorf("%+v", first)
	}
	if got := w.origin("show", first.Branch+":web/values.yaml"); got != strings.TrimSpace(shopValues("1.2.4")) {
		t.Errorf("%s", got)
	}
	p, err := w.forge.PullRequest(t.Context(), first.Number)
	if err != nil || p.State != "open" || p.Base != "main" || !strings.HasPrefix(p.Title, "Update "+w.hub.host()+"/acme/shop to 1.2.4 in shop") {
		t.Errorf("%+v, %v", p, err)
	}
	for _, want := range []string{"`1.2.3`", "`1.2.4`", digest, "2026-03-02 01:00:00"} {
		if !strings.Contains(w.forge.Written(), want) {
			t.Errorf("the text lacks %s:\n%s", want, w.forge.Written())
		}
	}
	// A newer one still: the same pull request.
	w.hub.push("acme/shop", "v1.10.0", "new")
	second := w.update("the newer one", "infra/shop", func(x store.Edit) bool { return isProposed(x) && x.Commit != first.Commit })
	if second.Number != first.Number || w.origin("rev-list", "--count", "main.."+second.Branch) != "1" || w.origin("show", second.Branch+":web/values.yaml") != strings.TrimSpace(shopValues("v1.10.0")) {
		t.Errorf("%+v", second)
	}
	if l := w.list(); l[0].State != edit.FollowedUpdate || l[0].Proposal == nil || l[0].Proposal.URL != second.URL || len(l[0].Changes) != 1 {
		t.Errorf("%+v", l[0])
	}
	commit := w.mergeBranch(second.Branch)
	w.forge.Merge(second.Number, commit, "ada")
	w.synced("infra/shop", commit)
	if got := w.file("values.yaml"); got != shopValues("v1.10.0") {
		t.Errorf("live: %s", got)
	}
	w.update("the merge", "infra/shop", func(x store.Edit) bool { return x.State == store.EditMerged })
	calls := w.forge.Calls("Propose")
	w.looked(2)
	if n := w.forge.Calls("Propose"); n != calls || w.list()[0].State != edit.FollowedCurrent {
		t.Errorf("after the merge: %d proposals more, %+v", n-calls, w.list()[0])
	}
	if log := w.origin("log", "--format=%an %B", "-5", "main"); !strings.Contains(log, "Trueup-Image: "+w.hub.host()+"/acme/shop v1.10.0@sha256:") {
		t.Error(log)
	}
	if text := w.forge.Written() + w.origin("log", "--format=%B", "--all") + fmt.Sprint(w.list()); strings.Contains(text, "canary") {
		t.Error("a secret stands in what was written")
	}
}

// TestImagesRefusedStayRefused: a closed pull request is a no to these
// versions, and a revert of a merge is one, too.
func TestImagesRefusedStayRefused(t *testing.T) {
	w := newImages(t, onForge, "infra", shopManifest, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.hub.push("acme/shop", "1.2.4", "1.2.4")
	w.start()
	first := w.update("a proposal", "infra/shop", isProposed)
	w.forge.Close(first.Number)
	w.update("the refusal", "infra/shop", func(x store.Edit) bool { return x.State == store.EditRefused })
	calls := w.forge.Calls("Propose")
	w.looked(2)
	w.push(map[string]string{"web/x": "unrelated\n"})
	w.looked(2)
	w.stop()
	w.start()
	w.looked(1)
	if n := w.forge.Calls("Propose"); n != calls {
		t.Fatalf("what was refused was proposed %d times", n-calls)
	}
	w.hub.push("acme/shop", "1.2.5", "1.2.5")
	second := w.update("a newer one", "infra/shop", isProposed)
	if second.Number == first.Number {
		t.Error("the closed one was used again")
	}
	commit := w.mergeBranch(second.Branch)
	w.forge.Merge(second.Number, commit, "ada")
	w.update("the merge", "infra/shop", func(x store.Edit) bool { return x.State == store.EditMerged })
	w.push(map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.update("the revert is a no", "infra/shop", func(x store.Edit) bool {
		return x.State == store.EditMerged && strings.Contains(string(x.Values), `"refused":{`) && strings.Count(string(x.Values), "1.2.5") == 2
	})
	calls = w.forge.Calls("Propose")
	w.looked(2)
	if n := w.forge.Calls("Propose"); n != calls {
		t.Errorf("a reverted version was proposed %d times", n-calls)
	}
	w.hub.push("acme/shop", "1.2.6", "1.2.6")
	w.update("the next", "infra/shop", isProposed)
}
