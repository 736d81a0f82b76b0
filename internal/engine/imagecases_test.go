package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// stateOf waits until an image stands like that.
func (w *imagesWorld) stateOf(what string, n int, check func(f edit.Followed) bool) edit.Followed {
	w.t.Helper()
	var f edit.Followed
	w.eventually(what, func() bool {
		if l := w.list(); len(l) > n {
			f = l[n]
			return check(f)
		}
		return false
	})
	return f
}

// check has the registries asked now, and waits until that is done.
func (w *imagesWorld) check() {
	w.t.Helper()
	before := w.seen("infra/shop").At
	if _, err := w.e.CheckImages(context.Background(), "user:ada", edit.Check{}); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("a look", func() bool { return w.seen("infra/shop").At.After(before) })
}

// kinds counts the events.
func (w *imagesWorld) kinds() map[string]int {
	w.t.Helper()
	events, err := w.st.Events(context.Background(), 0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, e := range events {
		out[e.Kind]++
	}
	return out
}

// TestImagesAreNeverTakenBack: what is in use and newer stays, and a version
// that is withdrawn takes its pull request along.
func TestImagesAreNeverTakenBack(t *testing.T) {
	w := newImages(t, onForge, "infra", shopManifest, map[string]string{"web/values.yaml": shopValues("1.5.0")})
	w.hub.push("acme/shop", "1.4.0", "1.4.0")
	w.start()
	f := w.stateOf("a newer one is in use", 0, func(f edit.Followed) bool { return f.State == edit.FollowedNewer })
	if f.Newest != "1.4.0" || len(f.Changes) != 0 || !strings.Contains(strings.Join(f.Notes, " "), "1.5.0 is in use, which is newer than 1.4.0") {
		t.Errorf("%+v", f)
	}
	w.looked(1)
	if w.forge.Calls("Propose") != 0 {
		t.Fatal("an older version was proposed")
	}
	w.hub.push("acme/shop", "1.6.0", "1.6.0")
	x := w.update("a newer one", "infra/shop", isProposed)
	w.hub.remove("acme/shop", "1.6.0")
	w.stateOf("it is withdrawn", 0, func(f edit.Followed) bool { return f.Newest == "1.4.0" })
	w.looked(1)
	if p, err := w.forge.PullRequest(t.Context(), x.Number); err != nil || p.State != "open" || w.origin("branch", "--list", x.Branch) == "" {
		t.Errorf("the forge gets a moment: %+v, %v", p, err)
	}
	w.ahead.Store(int64(2 * time.Minute))
	w.eventually("the proposal is taken back", func() bool {
		w.propose()
		return w.origin("branch", "--list", x.Branch) == ""
	})
	w.eventually("it is said why", func() bool { return strings.Contains(fmt.Sprint(w.forge.Own(x.Number)), "nothing left to update") })
	w.hub.push("acme/shop", "1.6.0", "1.6.0")
	w.check()
	w.update("it comes back", "infra/shop", isProposed)
}

// TestImagesWithoutTheirRegistry: an outage is said, nothing is lost by it, and
// a registry that wants to be left alone is.
func TestImagesWithoutTheirRegistry(t *testing.T) {
	w := newImages(t, onForge, "infra", shopManifest, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.hub.push("acme/shop", "1.2.4", "1.2.4")
	w.start()
	x := w.update("a proposal", "infra/shop", isProposed)
	w.hub.set(func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true })
	f := w.stateOf("the outage is said", 0, func(f edit.Followed) bool { return f.Error != "" })
	if f.Newest != "1.2.4" || f.State != edit.FollowedUpdate || !strings.Contains(f.Error, "unreachable") || strings.Contains(f.Error, "canary") {
		t.Errorf("%+v", f)
	}
	w.push(map[string]string{"web/x": "meanwhile\n"})
	w.looked(2)
	w.ahead.Store(int64(5 * time.Minute))
	w.check()
	if p, err := w.forge.PullRequest(t.Context(), x.Number); err != nil || p.State != "open" || w.origin("branch", "--list", x.Branch) == "" {
		t.Errorf("the proposal did not survive the outage: %+v, %v", p, err)
	}
	w.hub.set(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	w.check()
	w.stateOf("the limit is said", 0, func(f edit.Followed) bool { return strings.Contains(f.Error, "takes no more requests until") })
	n := w.hub.requests()
	w.check()
	w.check()
	if more := w.hub.requests() - n; more != 0 {
		t.Errorf("%d requests to a registry that wants to be left alone", more)
	}
	w.hub.set(nil)
	w.hub.push("acme/shop", "1.2.5", "1.2.5")
	w.ahead.Store(int64(2 * time.Hour))
	w.check()
	w.stateOf("it is back", 0, func(f edit.Followed) bool { return f.Error == "" && f.Newest == "1.2.5" })
	if kinds := w.kinds(); kinds["images.failed"] != 1 || kinds["images.recovered"] != 1 || kinds["images.proposed"] == 0 {
		t.Errorf("%v", kinds)
	}
}

const groupManifest = `version: 1
targets:
  - name: "{dir}"
    each: apps/*
    environments: [site, prod]
    path: "{each}"
    images:
      - image: HUB/acme/{dir}
        follow: {semver: 1.x}
        group: weekly
        fields: [{file: k.yaml, path: "$.images[name={dir}].newTag"}, {file: k.yaml, path: "$.images[name={dir}].digest", as: digest}]
`

func kustomized(name, tag, digest string) string {
	return fmt.Sprintf("images: # of %s\n  - name: %s\n    newTag: %q   # the tag\n    digest: %q\n", name, name, tag, digest)
}

// TestARegistryThatIsAwayIsAskedOnce in each round, however many images of it
// are followed.
func TestARegistryThatIsAwayIsAskedOnce(t *testing.T) {
	images := strings.Replace(shopManifest, "      - {", "      - {image: HUB/acme/one, follow: {semver: 1.x}, fields: [{file: values.yaml, path: $.image.tag}]}\n      - {image: HUB/acme/two, follow: {semver: 1.x}, fields: [{file: values.yaml, path: $.image.tag}]}\n      - {", 1)
	w := newImages(t, onForge, "infra", images, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.hub.set(func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true })
	w.start()
	w.stateOf("the outage is said of the last", 2, func(f edit.Followed) bool { return strings.Contains(f.Error, "unreachable") })
	w.stop()
	w.ahead.Store(-int64(time.Hour)) // nothing comes due by the clock
	before := w.hub.requests()
	w.start()
	if all, err := w.e.CheckImages(context.Background(), "user:ada", edit.Check{DryRun: true}); err != nil || len(all) != 3 || all[2].Error == "" {
		t.Fatalf("%+v, %v", all, err)
	}
	if n := w.hub.requests() - before; n != 1 {
		t.Errorf("%d requests in one round", n)
	}
}

// TestImagesInAGroup: one pull request for all, also where targets share their
// files; a tag and its digest are one; what is refused is refused by itself.
func TestImagesInAGroup(t *testing.T) {
	none := "sha256:" + strings.Repeat("0", 64)
	w := newImages(t, onForge, "infra", groupManifest, map[string]string{"apps/api/k.yaml": kustomized("api", "1.0.0", none), "apps/web/k.yaml": kustomized("web", "1.0.0", none)})
	api, web := w.hub.push("acme/api", "1.1.0", "api"), w.hub.push("acme/web", "1.1.0", "web")
	w.start()
	x := w.update("one proposal", "infra/+weekly", func(x store.Edit) bool {
		return isProposed(x) && strings.Contains(string(x.Values), api) && strings.Contains(string(x.Values), web)
	})
	if x.Branch != "trueup/images/group/weekly" || x.Error != "" || len(w.list()) != 4 {
		t.Errorf("%+v", x)
	}
	for name, digest := range map[string]string{"api": api, "web": web} {
		if got := w.origin("show", x.Branch+":apps/"+name+"/k.yaml"); got != strings.TrimSpace(kustomized(name, "1.1.0", digest)) {
			t.Errorf("%s", got)
		}
	}
	w.forge.Close(x.Number)
	w.update("the refusal", "infra/+weekly", func(x store.Edit) bool { return x.State == store.EditRefused })
	// The tag that was refused gets another digest: still no.
	w.hub.push("acme/api", "1.1.0", "api again")
	web = w.hub.push("acme/web", "1.2.0", "web 2")
	x = w.update("what is new", "infra/+weekly", isProposed)
	if got := w.origin("show", x.Branch+":apps/web/k.yaml"); got != strings.TrimSpace(kustomized("web", "1.2.0", web)) {
		t.Errorf("%s", got)
	}
	w.stateOf("the tag has moved", 0, func(f edit.Followed) bool { return strings.Contains(strings.Join(f.Notes, " "), "stood for "+api) })
	w.push(map[string]string{"apps/api/other": "x\n"})
	w.update("still the same", "infra/+weekly", isProposed)
	if got := w.origin("diff", "--name-only", "main..."+x.Branch); got != "apps/web/k.yaml" {
		t.Errorf("refused, and there again: %s", got)
	}
}

const movingManifest = `version: 1
targets:
  - name: shop
    environment: site
    path: web
    images:
      - {image: HUB/acme/base, follow: {tag: stable}, fields: [{file: ref.txt, regexp: 'base (\S+)', as: "image:tag@digest"}]}
      - {image: HUB/acme/shop, follow: {semver: 1.x}, fields: [{file: ref.txt, regexp: 'shop (\S+)', as: tag@digest}]}
`

// TestImagesWhoseTagsMove: the content of one tag is followed by its digest; a
// version that was pushed again is noted, and left as it is.
func TestImagesWhoseTagsMove(t *testing.T) {
	w := newImages(t, onForge, "infra", movingManifest, map[string]string{})
	one, shop := w.hub.push("acme/base", "stable", "one"), w.hub.push("acme/shop", "1.0.0", "shop")
	base := w.hub.host() + "/acme/base"
	text := func(a, b string) string { return fmt.Sprintf("base %s:stable@%s\nshop 1.0.0@%s\n", base, a, b) }
	w.push(map[string]string{"web/ref.txt": text(one, shop)})
	w.start()
	w.stateOf("nothing is newer", 1, func(f edit.Followed) bool { return f.State == edit.FollowedCurrent })
	w.looked(1)
	if w.forge.Calls("Propose") != 0 {
		t.Fatal("something was proposed")
	}
	two := w.hub.push("acme/base", "stable", "two")
	other := w.hub.push("acme/shop", "1.0.0", "pushed again")
	x := w.update("the new content", "infra/shop", isProposed)
	if got := w.origin("show", x.Branch+":web/ref.txt"); got != strings.TrimSpace(text(two, shop)) {
		t.Errorf("%s", got)
	}
	f := w.stateOf("a version that moved is noted", 1, func(f edit.Followed) bool { return f.Digest == other })
	if s := strings.Join(f.Notes, "\n"); f.State != edit.FollowedCurrent || !strings.Contains(s, "stood for "+shop) || !strings.Contains(s, "left as it is") {
		t.Errorf("%+v", f)
	}
	if kinds := w.kinds(); kinds["images.moved"] != 2 {
		t.Errorf("%v", kinds)
	}
}

// TestImagesThatAreNotTheirs: what the operator does not allow is not asked
// for, and a field that holds another image is not written.
func TestImagesThatAreNotTheirs(t *testing.T) {
	w := newImages(t, onForge, "other", shopManifest, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.hub.push("acme/shop", "1.2.4", "1.2.4")
	w.start()
	w.eventually("a mistake", func() bool {
		r, err := w.st.Repository(context.Background(), "infra")
		return err == nil && strings.Contains(fmt.Sprint(r.Invalid), "may not follow")
	})
	w.stop()
	w.config = strings.Replace(w.config, "allow: other", "allow: infra", 1)
	w.push(map[string]string{"trueup.yaml": strings.ReplaceAll(strings.Replace(shopManifest, "path: $.image.tag", "path: $.image.repo, as: image:tag", 1), "HUB", w.hub.host())})
	w.start()
	f := w.stateOf("another image stands there", 0, func(f edit.Followed) bool { return f.Error != "" && f.Newest != "" })
	if !strings.Contains(f.Error, `holds the image "shop"`) {
		t.Errorf("%+v", f)
	}
	x := w.update("it is told", "infra/shop", func(x store.Edit) bool { return x.Error != "" })
	if x.State != "" || w.forge.Calls("Propose") != 0 {
		t.Errorf("%+v", x)
	}
	// The grant is taken away from a target that is there already.
	w.stop()
	before := w.hub.requests()
	w.config = strings.Replace(w.config, "allow: infra}\n", "allow: other}\n", 1)
	w.start()
	w.eventually("it is said", func() bool { return strings.Contains(string(w.seen("infra/shop").Values), "below none of the sources") })
	w.check()
	if n := w.hub.requests() - before; n != 0 {
		t.Errorf("%d requests for what is not allowed", n)
	}
}

const chartManifest = `version: 1
targets:
  - name: shop
    environment: site
    path: web
    images:
      - {chart: {repository: "CHARTS/stable", name: shop}, follow: {semver: ^1}, fields: [{file: c.yaml, path: $.version}, {file: c.yaml, path: $.digest, as: digest}]}
`

// TestChartsAreProposed: version and digest together, from an index.
func TestChartsAreProposed(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	charts := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stable/index.yaml" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = fmt.Fprintf(rw, "apiVersion: v1\nentries:\n  shop:\n    - {version: 2.0.0, digest: %[1]s, urls: [x.tgz]}\n    - {version: 1.3.0+build.1, digest: %[1]s, created: 2026-02-03T04:05:06Z, urls: [x.tgz]}\n    - {version: 1.2.0, urls: [x.tgz]}\n", digest)
	}))
	t.Cleanup(charts.Close)
	w := newImages(t, onForge, "infra", strings.ReplaceAll(chartManifest, "CHARTS", charts.URL), map[string]string{"web/c.yaml": "version: 1.2.0\ndigest: ''\n"})
	w.config = strings.Replace(w.config, "registries:\n", fmt.Sprintf("registries:\n  charts: {url: %q, insecure: true, allow: infra}\n", charts.URL+"/stable"), 1)
	w.start()
	x := w.update("a proposal", "infra/shop", isProposed)
	if got := w.origin("show", x.Branch+":web/c.yaml"); got != "version: 1.3.0+build.1\ndigest: 'sha256:"+digest+"'" {
		t.Errorf("%s", got)
	}
	if !strings.Contains(w.forge.Written(), "2026-02-03 04:05:06") || !strings.Contains(w.forge.Written(), charts.URL+"/stable shop") {
		t.Error(w.forge.Written())
	}
}

// TestCheckImages: a dry run tells and leaves no trace.
func TestCheckImages(t *testing.T) {
	w := newImages(t, onForge, "infra", shopManifest, map[string]string{"web/values.yaml": shopValues("1.2.3")})
	w.hub.set(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	w.start()
	w.stateOf("it can't be looked at", 0, func(f edit.Followed) bool { return f.Error != "" && f.State == edit.FollowedUnknown })
	w.stop()
	w.hub.set(nil)
	w.config = strings.Replace(w.config, "poll: 1m", "poll: 24h", 1)
	w.hub.push("acme/shop", "1.2.4", "1.2.4")
	w.start()
	all, err := w.e.CheckImages(context.Background(), "user:ada", edit.Check{Only: []string{"sh*"}, DryRun: true})
	if err != nil || len(all) != 1 || all[0].State != edit.FollowedUpdate || len(all[0].Changes) != 1 || all[0].Changes[0].To.Text != "1.2.4" || all[0].InUse != "1.2.3" {
		t.Fatalf("%+v, %v", all, err)
	}
	if none, err := w.e.CheckImages(context.Background(), "user:ada", edit.Check{Only: []string{"nobody"}}); err != nil || len(none) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	if _, err := w.e.CheckImages(context.Background(), "user:ada", edit.Check{}); err != nil {
		t.Fatal(err)
	}
	w.update("a proposal", "infra/shop", isProposed)
}
